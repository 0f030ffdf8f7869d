// Updates of low rank: products with weights W that become W·x + B·(A·x), all in F32.
#pragma once

#include "ggml.h"

#include <stdbool.h>
#include <stdint.h>

// What is added to the results of a product: B·t.
struct update {
	const struct ggml_tensor * t;   // A·x: [ranks, T], or NULL for no update
	struct ggml_tensor * const * b; // of parts of the results, one after the other: each [results, ranks]
	int parts;
};

// pg_update_of returns the update that an operation has from its source numbered i on.
struct update pg_update_of(const struct ggml_tensor * dst, int i);

#define UPDATE_PARTS 3 // results that an update has apart from each other, at most (update.go)

// An update of some rows: those from the end of the group before on.
struct update_group {
	int64_t end;
	const struct ggml_tensor * a; // factors [k, ranks], or NULL: nothing is added to these rows
	int64_t first;                // of the ranks, the first that belongs to b
	const struct ggml_tensor * b[UPDATE_PARTS];
	int64_t parts;
	bool blocks; // products with a are added up block by block, as those that are made while rows are written
};

// Updates of all rows. Whoever records an operation keeps them for as long as the graph exists.
struct update_groups {
	int64_t n, ranks; // the most that a group has
	struct update_group * group;
};

#define PROJECTED 1024 // values of a row that are multiplied with factors together

// Products of rows with factors, made while the rows are written: of each row, of each PROJECTED of its values, with each
// factor. So each is summed up in the same order, whoever writes which part of a row.
struct projection {
	const struct ggml_tensor * a; // [k, ranks], or NULL for none
	float * to;                   // [ranks, blocks, T]
	int64_t blocks;               // of a row
};

// pg_projection_of returns what an operation that writes rows multiplies them with.
struct projection pg_projection_of(const struct ggml_tensor * dst);

// pg_project_block multiplies count values of some rows, row being the first; x is where its value numbered from is, a
// multiple of PROJECTED, and ldx how many floats lie from one row to the next.
void pg_project_block(const struct projection * p, int64_t row, int64_t rows, int64_t from, int64_t count,
					  const float * x, int64_t ldx);

// pg_fetch_update asks for what an update adds to results [from, to), before it is needed.
void pg_fetch_update(const struct update * u, int64_t from, int64_t to);

// pg_add_update adds an update to results [from, to) of some rows, the one numbered row being the first; y is where the
// first of these results is, and ldy how many floats lie from one row to the next.
void pg_add_update(const struct update * u, int64_t row, int64_t rows, int64_t from, int64_t to, float * y,
				   int64_t ldy);
