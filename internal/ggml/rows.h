// How kernels write rows: as F32, or as ggml's Q8_K, Q8_0 or BF16, the types that products with most weights
// take. Zeros fill what a row is longer than its values.
#pragma once

#include "ggml.h"

#include <stdbool.h>
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

// A row that an operation writes: what its values are a function of.
struct row {
	const float *x, *w, *b;
	float mean, scale;
};

// How an operation writes rows, as many as src[0] has and as long, or longer in dst.
struct row_writer {
	// returns a row by its number
	struct row (*row)(const struct ggml_tensor * dst, int64_t i, void * userdata);

	// stores count values of a row, from the one numbered from, at y; NULL: they are those of x
	void (*fill)(float * y, int64_t from, int64_t count, const struct row * r);

	bool split; // parts of rows are dealt out, since there may be one row only
};

// pg_write_rows writes rows in the type of dst, and multiplies them with the factors that it has, if any. pg_rows_work
// returns what pg_together takes.
void pg_write_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata, const struct row_writer * w);
int64_t pg_rows_work(const struct ggml_tensor * dst);
