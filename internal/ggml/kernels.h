// Kernels of our own for the CPU, each a ggml_custom_op_t or recording one. Where
// rows are said to be written, dst may be F32, Q8_K, Q8_0 or BF16, and its rows
// longer than those of src[0]; what is left of them is zero.
#pragma once

#include "ggml.h"

// pg_gelu is GELU of src[0], contiguous F32 as dst is.
void pg_gelu(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_geglu writes rows of GELU of src[0] times src[1].
void pg_geglu(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_gelu_bias writes rows of GELU of src[0] + src[1], the same for each row.
void pg_gelu_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_add_bias is src[0] + (src[1] + src[2]), the last the same for each row.
void pg_add_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_pad_rows writes rows of src[0], F32 with dense rows.
void pg_pad_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_layer_norm records (x − mean)/sqrt(variance + eps)·w + b for each row of x,
// in rows of n values of a type.
struct ggml_tensor * pg_layer_norm(struct ggml_context * ctx, struct ggml_tensor * x, struct ggml_tensor * w,
								   struct ggml_tensor * b, float eps, enum ggml_type type, int64_t n);

// pg_rms_norm records x/sqrt(mean(x²) + eps)·w for each row of x, likewise.
struct ggml_tensor * pg_rms_norm(struct ggml_context * ctx, struct ggml_tensor * x, struct ggml_tensor * w, float eps,
								 enum ggml_type type, int64_t n);

// pg_attention records softmax(cap·tanh(scale·Q·Kᵀ/cap))·V, or without cap if it
// is 0, for q [d, T, heads], k [d, n, kv_heads] and v [dv, n, kv_heads], F32 with
// dense rows: [dv, heads, T]. At most so many threads take part.
struct ggml_tensor * pg_attention(struct ggml_context * ctx, struct ggml_tensor * q, struct ggml_tensor * k,
								  struct ggml_tensor * v, float scale, float cap, int threads);

// pg_rows_type is what products with a type quantise their operand to, and
// pg_quantizes tells whether ours is ggml's, for Q8_K, Q8_0 and BF16.
int pg_rows_type(enum ggml_type type);
int pg_quantizes(enum ggml_type type);

// pg_multiplies tells whether pg_product takes weights of a type with rows of k
// values on this processor, and pg_product records their product, a [k, n] with
// each row of b [k, T, …], contiguous and of the type that such products take:
// [n, T, …]. At most so many threads take part.
int pg_multiplies(enum ggml_type type, int64_t k);
struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b, int threads);
