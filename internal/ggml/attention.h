// Attention in tiles (attention.c): what its kernels for F32 and BF16 have in common.
#pragma once

#include "custom.h"
#include "isa.h"

#define QUERIES 96 // of a tile
#define KEYS 128

// An operation's operands, and one thread's work. Tiles of queries are numbered head after head.
struct attention {
	const struct ggml_tensor *q, *k, *v;
	const float *q_bias, *k_bias, *v_bias; // of all heads, to be added; or NULL
	float * out;                           // [dv, heads, queries]
	float scale, cap;
	int64_t d, dv, wide; // wide: dv, rounded up to LINE
	int64_t queries, heads, keys, kv_heads;
	int64_t tiles, group; // tiles of a head, and of the heads that share keys

	float *largest, *total; // scratch: the largest score and the sum of weights of each query
	char * scratch;         // the rest
};

// pg_attention_of returns what an operation on sources q, k and v, and biases of each or none, computes.
struct attention pg_attention_of(struct ggml_tensor * const * src, void * userdata);

static inline const float * row_of(const struct ggml_tensor * t, int64_t i, int64_t head) {
	return (const float *) ((const char *) t->data + i * t->nb[1] + head * t->nb[2]);
}

// Returns a head's part of a bias, or NULL.
static inline const float * bias_of(const float * bias, int64_t head, int64_t n) {
	return bias ? bias + head * n : NULL;
}

static inline float * out_row(const struct attention * a, int64_t i, int64_t head) {
	return a->out + (i * a->heads + head) * a->dv;
}

// pg_attention_bf16 records attention of n sources (pg_attention_of) in BF16: [dv, heads, queries]. It returns NULL if
// the processor has no such products.
struct ggml_tensor * pg_attention_bf16(struct ggml_context * ctx, struct ggml_tensor ** src, int n, void * userdata,
									   int threads);
