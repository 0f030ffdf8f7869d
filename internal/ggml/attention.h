// Attention in tiles (attention.c): what its kernels for F32 and BF16 have in common.
#pragma once

#include "custom.h"
#include "isa.h"

#define QUERIES 96 // of a tile
#define KEYS 128

// One thread's work. Tiles of queries are numbered head after head.
struct attention {
	const struct ggml_tensor *q, *k, *v;
	float * out; // [dv, heads, queries]
	float scale, cap;
	int64_t d, dv, wide; // wide: dv, rounded up to LINE
	int64_t queries, heads, keys;
	int64_t tiles, group; // tiles of a head, and of the heads that share keys

	float *largest, *total; // scratch: the largest score and the sum of weights of each query of a group
	char * scratch;         // the kernel's
};

static inline const float * row_of(const struct ggml_tensor * t, int64_t i, int64_t head) {
	return (const float *) ((const char *) t->data + i * t->nb[1] + head * t->nb[2]);
}

static inline float * out_row(const struct attention * a, int64_t i, int64_t head) {
	return a->out + (i * a->heads + head) * a->dv;
}

// An attention_kernel works on one tile at a time.
struct attention_kernel {
	// returns the bytes of scratch that it needs
	int64_t (*scratch_bytes)(const struct attention * a);

	// brings n keys of a head and their values into scratch
	void (*load_keys)(const struct attention * a, int64_t head, int64_t from, int64_t n);

	// lets a tile of queries, the one numbered at within its group, see these keys
	void (*attend)(const struct attention * a, int64_t tile, int64_t at, int64_t from, int64_t n);
};

// pg_attention_bf16 is the kernel for BF16 if this processor has one, or NULL.
const struct attention_kernel * pg_attention_bf16(void);
