// What custom operations of ggml share: their parameters and the scratch memory of their threads.
#pragma once

#include "ggml.h"

#include <stdint.h>
#include <string.h>

// Two numbers fit into the pointer that ggml hands to an operation.
struct params {
	float a, b;
};

static inline void * params_to_userdata(struct params p) {
	_Static_assert(sizeof p == sizeof(void *), "parameters are as long as a pointer");
	void * userdata;
	memcpy(&userdata, &p, sizeof p);
	return userdata;
}

static inline struct params params_of(void * userdata) {
	struct params p;
	memcpy(&p, &userdata, sizeof p);
	return p;
}

#define CACHE_LINE 64 // bytes
#define LINE 16       // floats of a cache line, and lanes of sums

static inline int64_t round_up(int64_t n, int64_t unit) {
	return (n + unit - 1) / unit * unit;
}

static inline int64_t least(int64_t a, int64_t b) {
	return a < b ? a : b;
}

// An operation with scratch memory has one dimension: its values, then bytes for each thread. The result is
// a view of the values in the shape ne.
struct ggml_tensor * pg_custom_with_scratch(struct ggml_context * ctx, const int64_t ne[4], struct ggml_tensor ** args,
											int n_args, ggml_custom_op_t op, void * userdata, int threads,
											int64_t bytes);

// pg_scratch returns the memory of thread ith, aligned to a cache line, or NULL if it has none and is to stay
// idle: nth becomes the number of those that have. values and bytes are what the operation was recorded with.
void * pg_scratch(const struct ggml_tensor * dst, int64_t values, int64_t bytes, int ith, int * nth);
