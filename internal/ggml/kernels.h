// Custom kernels for the CPU, each a ggml_custom_op_t or a function that records one. Where rows are written, dst may
// be F32, Q8_K, Q8_0 or BF16, and its rows longer than those of src[0]; zeros fill the rest. Where factors a are the
// last source and dst has more rows, products of the rows with them are written there (pg_projection_rows).
#pragma once

#include "ggml.h"

#include <stdbool.h>

struct cell_parts;    // cells.h
struct update_groups; // update.h

// pg_gelu computes GELU of src[0]; both are contiguous F32.
void pg_gelu(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_geglu writes rows of GELU of src[0] times src[1].
void pg_geglu(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_gelu_bias writes rows of GELU of src[0] + src[1], the same for each row.
void pg_gelu_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_add computes src[0] + src[1], F32 with dense rows of one length; src[1] is repeated where src[0] is larger.
void pg_add(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_add_bias computes src[0] + (src[1] + src[2]), the last the same for each row.
void pg_add_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_pad_rows writes rows of src[0], F32 with dense rows.
void pg_pad_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_layer_norm records (x − mean)/sqrt(variance + eps)·w + b for each row of x, in rows of n values of a type; a may be
// NULL.
struct ggml_tensor * pg_layer_norm(struct ggml_context * ctx, struct ggml_tensor * x, struct ggml_tensor * w,
								   struct ggml_tensor * b, float eps, enum ggml_type type, int64_t n,
								   struct ggml_tensor * a);

// pg_rms_norm records x/sqrt(mean(x²) + eps)·w for each row of x, in rows of n values of a type; a may be NULL.
struct ggml_tensor * pg_rms_norm(struct ggml_context * ctx, struct ggml_tensor * x, struct ggml_tensor * w, float eps,
								 enum ggml_type type, int64_t n, struct ggml_tensor * a);

// pg_attention records softmax(cap·tanh(scale·Q·Kᵀ/cap))·V, or without cap if it is 0, for q [d, T, heads],
// k [d, n, kv_heads] and v [dv, n, kv_heads], F32 with dense rows: [dv, heads, T]. Biases of all heads of q, k and v are
// added to them first; NULL if there are none. Unless it is exact, factors are rounded to BF16 where the processor
// multiplies those. threads is how many take part at most.
struct ggml_tensor * pg_attention(struct ggml_context * ctx, struct ggml_tensor * q, struct ggml_tensor * k,
								  struct ggml_tensor * v, struct ggml_tensor * const * bias, float scale, float cap,
								  bool exact, int threads);

// pg_largest returns the index of the largest of n values, the first of several; -1 if there are none or one is NaN.
int64_t pg_largest(int64_t n, const float * x);

// pg_rows_type returns the type to which products with weights of a type quantize their operand, and pg_quantizes
// reports whether rows.c writes Q8_K, Q8_0 or BF16 to the same bits as ggml.
int pg_rows_type(enum ggml_type type);
int pg_quantizes(enum ggml_type type);

// pg_multiplies reports whether pg_product takes weights of a type with rows of k values, with the sets in use.
// pg_product records the product of a [k, n] with each row of b [k, T, …], contiguous and of the type that such
// products take: [n, T, …]. threads is how many take part at most. The update (update.h), of n_update tensors or none, is
// added to the product.
int pg_multiplies(enum ggml_type type, int64_t k);
struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b, int threads,
								struct ggml_tensor ** update, int n_update);

// pg_projection_rows returns how many rows of n values of a quantized type, after T rows, hold the products of those with
// factors a [k, ranks]; 0 if a is NULL. pg_sum_projections records A·x from them: [ranks, T].
int64_t pg_projection_rows(enum ggml_type type, int64_t n, int64_t rows, const struct ggml_tensor * a);
struct ggml_tensor * pg_sum_projections(struct ggml_context * ctx, struct ggml_tensor * rows, struct ggml_tensor * a,
										int64_t n_rows);

// pg_project records A·x for F32 factors a [k, ranks] and rows x [k, T]: [ranks, T]. pg_update records that an update,
// A·x and what multiplies it, is added to the contiguous F32 results y [n, T], in place.
struct ggml_tensor * pg_project(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * x);
struct ggml_tensor * pg_update(struct ggml_context * ctx, struct ggml_tensor * y, struct ggml_tensor ** update,
							   int n_update);

// pg_project_groups records A·x for rows x [k, T], each with the A of its group: [ranks, T]. pg_update_groups records
// that each group's update, whose A·x is t, is added to its rows of the contiguous F32 results y [n, T], in place.
struct ggml_tensor * pg_project_groups(struct ggml_context * ctx, struct ggml_tensor * x,
									   struct update_groups * groups);
struct ggml_tensor * pg_update_groups(struct ggml_context * ctx, struct ggml_tensor * y, struct ggml_tensor * t,
									  struct update_groups * groups);

// pg_append records RoPE of queries [d, heads, T] and keys [d, kv_heads, T], by tables of cosines and sines [d, T]:
// [d, heads + kv_heads, T]. The keys and the values [d, kv_heads, T] go to the cells of the parts' tokens.
struct ggml_tensor * pg_append(struct ggml_context * ctx, struct ggml_tensor * q, struct ggml_tensor * k,
							   struct ggml_tensor * v, struct ggml_tensor * table, struct cell_parts * parts);

// pg_attend records the attention of queries [d, heads, T] to the cells of the parts' sequences: [d, heads, T]. threads
// is how many take part at most.
struct ggml_tensor * pg_attend(struct ggml_context * ctx, struct ggml_tensor * q, struct cell_parts * parts,
							   int threads);
