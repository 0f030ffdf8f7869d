#ifndef ISA
#include "kernels.h"
#include "isa.h"

#include <math.h>

#define LANES 16
#define BLOCK 1024 // values, a multiple of LANES

#define KERNEL "largest.c"
#include "foreach_isa.h"

int64_t pg_largest(int64_t n, const float * x) {
	return DISPATCH(largest)(n, x);
}

// --- for each instruction set -----------------------------------------------

#else

// Returns the largest of n values, at most BLOCK, or NaN if one is NaN.
INLINE float FN(largest_of)(int64_t n, const float * x) {
	float lane[LANES];
	int nan[LANES] = {0};
	for (int j = 0; j < LANES; j++) {
		lane[j] = -INFINITY;
	}
	for (int64_t i = 0; i + LANES <= n; i += LANES) {
		for (int j = 0; j < LANES; j++) {
			lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
			nan[j] |= x[i + j] != x[i + j];
		}
	}
	for (int64_t i = n / LANES * LANES; i < n; i++) {
		lane[0] = x[i] > lane[0] ? x[i] : lane[0];
		nan[0] |= x[i] != x[i];
	}
	for (int j = 1; j < LANES; j++) {
		lane[0] = lane[j] > lane[0] ? lane[j] : lane[0];
		nan[0] |= nan[j];
	}
	return nan[0] ? NAN : lane[0];
}

static int64_t FN(largest)(int64_t n, const float * x) {
	float best = -INFINITY;
	int64_t at = 0; // the block that has it
	for (int64_t i = 0; i < n; i += BLOCK) {
		const float y = FN(largest_of)(n - i < BLOCK ? n - i : BLOCK, x + i);
		if (y != y) {
			return -1;
		}
		if (y > best) {
			best = y;
			at = i;
		}
	}
	while (at < n && x[at] != best) {
		at++;
	}
	return at < n ? at : -1;
}

#endif
