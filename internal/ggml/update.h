// Updates of low rank: products with weights W that become W·x + B·(A·x), all in F32.
#pragma once

#include "ggml.h"

#include <stdint.h>

// What is added to the results of a product: B·t.
struct update {
	const struct ggml_tensor * t;        // A·x: [ranks, T], or NULL for no update
	struct ggml_tensor * const * b; // of parts of the results, one after the other: each [results, ranks]
	int parts;
};

// pg_update_of returns the update that an operation has from its source numbered i on.
struct update pg_update_of(const struct ggml_tensor * dst, int i);

// pg_add_update adds an update to results [from, to) of some rows, the one numbered row being the first; y is where the
// first of these results is, and ldy how many floats lie from one row to the next.
void pg_add_update(const struct update * u, int64_t row, int64_t rows, int64_t from, int64_t to, float * y, int64_t ldy);
