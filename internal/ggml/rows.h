// How kernels write rows: as F32, or as ggml's Q8_K, Q8_0 or BF16, the types that products with most weights
// take. Zeros fill what a row is longer than its values.
#pragma once

#include "ggml.h"

#include <stdint.h>

#define QK_K 256 // values of a block of Q8_K, and those that are made at once
#define QK_0 32  // values of a block of Q8_0

// A block of Q8_K: value i is d·qs[i]; sums are of 16 qs each.
struct block_q8_K {
	float d;
	int8_t qs[QK_K];
	int16_t sums[QK_K / 16];
};

// A block of Q8_0: value i is d·qs[i], d in half precision.
struct block_q8_0 {
	uint16_t d;
	int8_t qs[QK_0];
};

// pg_quantize writes values of a row, from the one numbered from, which begins a block of QK_K, to that or to
// its end.
void pg_quantize(enum ggml_type type, const float * x, int64_t count, void * row, int64_t from);

// A row_fill stores count values of a row, from the one numbered from, at y.
typedef void (*row_fill)(float * y, int64_t from, int64_t count, const void * args);

// pg_write_row writes values [from, to) of a row of dst, whose first n values fill gives. from begins a block.
void pg_write_row(struct ggml_tensor * dst, int64_t row, int64_t from, int64_t to, int64_t n, row_fill fill,
				  const void * args);
