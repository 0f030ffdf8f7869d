#ifndef ISA
#include "low_rank.h"

#define KERNEL "low_rank.c"
#include "foreach_isa.h"

void pg_add_low_rank(int64_t rows, int64_t n, int64_t rank, const float * a, const float * b, float scale, float * y) {
	for (int64_t i = 0; i < rows; i++) {
		DISPATCH(add_row)(n, rank, a, b + i * rank, scale, y + i * n);
	}
}

// --- for each instruction set -----------------------------------------------

#else

// Every product and every sum is rounded, so that all instruction sets give the same bits.
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

#define COLUMNS 64 // whose sums stay in registers

INLINE void FN(add_columns)(int64_t count, int64_t n, int64_t rank, const float * restrict a, const float * restrict b,
							float scale, float * restrict y) {
	float sum[COLUMNS] = {0};
	for (int64_t r = 0; r < rank; r++) {
		const float factor = b[r];
		for (int64_t j = 0; j < count; j++) {
			sum[j] += factor * a[r * n + j];
		}
	}
	for (int64_t j = 0; j < count; j++) {
		y[j] += scale * sum[j];
	}
}

static void FN(add_row)(int64_t n, int64_t rank, const float * restrict a, const float * restrict b, float scale,
						float * restrict y) {
	int64_t j = 0;
	for (; j + COLUMNS <= n; j += COLUMNS) {
		FN(add_columns)(COLUMNS, n, rank, a + j, b, scale, y + j);
	}
	if (j < n) {
		FN(add_columns)(n - j, n, rank, a + j, b, scale, y + j);
	}
}

#undef COLUMNS
#endif
