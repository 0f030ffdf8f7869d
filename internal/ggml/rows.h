// How kernels of our own write rows: as F32, or as ggml's Q8_K, Q8_0 or BF16, the
// types that products with most weights take. Zeros fill what a row is longer than
// its values.
#pragma once

#include "ggml.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PG_BLOCK 256 // values of a block of Q8_K, and those that are made at once

// pg_q8_K is a block of Q8_K: value i is d·qs[i]; sums are of 16 qs each.
struct pg_q8_K {
	float   d;
	int8_t  qs[PG_BLOCK];
	int16_t sums[PG_BLOCK / 16];
};

// pg_q8_0 is a block of Q8_0: value i is d·qs[i], d in half precision.
struct pg_q8_0 {
	uint16_t d;
	int8_t   qs[32];
};

// pg_quantize writes values of a row, from the one numbered from on, which begins
// a block of PG_BLOCK, to that or to its end.
void pg_quantize(enum ggml_type type, const float * x, int64_t count, void * row, int64_t from);

// PG_ROW writes row i of dst, of n values: the statement last given puts count
// of them, from the one numbered from on, at y.
#define PG_ROW(dst, i, n, y, from, count, ...)                                        \
	do {                                                                              \
		char * row_ = (char *) (dst)->data + (i) * (dst)->nb[1];                      \
		float block_[PG_BLOCK];                                                       \
		const bool plain_ = (dst)->type == GGML_TYPE_F32;                             \
		const int64_t most_ = plain_ ? (dst)->ne[0] : PG_BLOCK;                       \
		for (int64_t from = 0; from < (dst)->ne[0]; from += most_) {                  \
			const int64_t left_ = (dst)->ne[0] - from, step_ = left_ < most_ ? left_ : most_; \
			float * y = plain_ ? (float *) row_ : block_;                             \
			int64_t count = (n) - from;                                               \
			count = count < 0 ? 0 : count > step_ ? step_ : count;                    \
			if (count > 0) {                                                          \
				__VA_ARGS__;                                                          \
			}                                                                         \
			memset(y + count, 0, (step_ - count) * sizeof(float));                    \
			if (!plain_) {                                                            \
				pg_quantize((dst)->type, block_, step_, row_, from);                 \
			}                                                                         \
		}                                                                             \
	} while (0)
