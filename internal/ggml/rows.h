// How kernels of our own write rows: as F32, or as ggml's Q8_K, the type that
// products with K-quants take. Zeros fill what a row is longer than its values.
#pragma once

#include "ggml.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PG_BLOCK 256 // values of a block of Q8_K

// pg_q8_K is a block of Q8_K: value i is d·qs[i]; sums are of 16 qs each.
struct pg_q8_K {
	float   d;
	int8_t  qs[PG_BLOCK];
	int16_t sums[PG_BLOCK / 16];
};

void pg_quantize_q8_K(const float * x, struct pg_q8_K * y);

// PG_ROW writes row i of dst, of n values: the statement last given puts count
// of them, from the one numbered from on, at y.
#define PG_ROW(dst, i, n, y, from, count, ...)                                        \
	do {                                                                              \
		char * row_ = (char *) (dst)->data + (i) * (dst)->nb[1];                      \
		float block_[PG_BLOCK];                                                       \
		const bool plain_ = (dst)->type == GGML_TYPE_F32;                             \
		const int64_t step_ = plain_ ? (dst)->ne[0] : PG_BLOCK;                       \
		for (int64_t from = 0; from < (dst)->ne[0]; from += step_) {                  \
			float * y = plain_ ? (float *) row_ : block_;                             \
			int64_t count = (n) - from;                                               \
			count = count < 0 ? 0 : count > step_ ? step_ : count;                    \
			if (count > 0) {                                                          \
				__VA_ARGS__;                                                          \
			}                                                                         \
			memset(y + count, 0, (step_ - count) * sizeof(float));                    \
			if (!plain_) {                                                            \
				pg_quantize_q8_K(block_, (struct pg_q8_K *) row_ + from / PG_BLOCK); \
			}                                                                         \
		}                                                                             \
	} while (0)
