// Updates of low rank, added to rows of weights.
#pragma once

#include <stdint.h>

// pg_add_low_rank adds scale·b·a to rows of n values at y: a is [rank][n], b [rows][rank]. The sums over the rank
// are made first, in order.
void pg_add_low_rank(int64_t rows, int64_t n, int64_t rank, const float * a, const float * b, float scale, float * y);
