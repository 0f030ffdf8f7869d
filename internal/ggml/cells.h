// Keys and values of earlier tokens, a cell for each: rows [d, kv_heads] of keys and of values in half precision.
#pragma once

#include <stdint.h>

// Cells that lie one after the other.
struct cell_run {
	uint16_t *keys, *values;
	int64_t n;
};

// Cells [from, to) of a sequence.
struct cell_range {
	int32_t from, to;
};

// Tokens of one sequence.
struct cell_part {
	int64_t first, tokens;          // which of all
	struct cell_run runs[2];        // the sequence's cells; the last ones are the tokens' own
	const struct cell_range * seen; // [tokens]: the cells that each sees
};

// The parts of a pass. Whoever records an operation keeps them for as long as the graph exists.
struct cell_parts {
	int64_t n, kv_heads;
	struct cell_part * parts;
	int32_t * arrived; // [n, kv_heads], zero between operations: how many chunks are computed
	float scale, cap;
};
