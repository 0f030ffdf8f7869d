// What matrix products (matmul.c) have in common with the types that they take. For x86 only.
#pragma once

#include "custom.h"
#include "isa.h"
#include "rows.h"
#include "update.h"

// Products are written in intrinsics that older compilers lack.
#if defined(ISA_DISPATCH) && (defined(__clang__) || __GNUC__ >= 11)
#define PG_PRODUCTS 1

#include <immintrin.h>
#include <string.h>

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define NOINLINE __attribute__((noinline)) static

// Sizes are named as in BLIS (https://doi.org/10.1145/2764454): in registers MR rows meet NR rows of weights, which lie
// side by side in nv vectors. Up to NARROW rows meet one vector: they wait for weights, and of those there should
// be few in the cache. More rows meet two: each value that is loaded is used twice. MC·KC values of rows at once
// stay in the cache.
#define LANES 16
#define NR(nv) ((nv) * LANES)
#define MR(nv) ((nv) == 1 ? 8 : 6)
#define TILE 12 // vectors of a tile, at most
#define NARROW 16
#define MC 288
#define KC 2048
#define STEP 256 // values for which weights are unpacked at once, into the first cache
#define AHEAD 12 // rows of results that are asked for before they are needed

// With few rows, STREAMS rows of weights that lie far apart are read at once, so that they meet each block of the
// rows while it is close at hand; each is read from its beginning to its end, which the memory likes, and asked for
// PREFETCH bytes ahead, past the caches: it is used once.
#define STREAMS 4
#define PREFETCH 1024

// Rows of weights that meet some rows.
struct strip {
	const uint8_t * a;    // the first row of weights
	const uint8_t * then; // that of the weights that come after these
	size_t stride;        // bytes from one row to the next
	int64_t columns, k;   // how many there are, and their values
	const void * x;       // rows [k/STEP, rows] as copy makes them
	int64_t rows;         // MC at most
	float * y;            // results [rows, columns]
	int64_t ldy;          // floats from one of its rows to the next
	bool add;             // to the results that are there

	const struct update * update; // that completes the results, or NULL
	int64_t row, column;          // of the first result in the whole product
};

// Adds the update, if there is one, to the results of a strip.
static inline void complete(const struct strip * s) {
	if (s->update) {
		pg_add_update(s->update, s->row, s->rows, s->column, s->column + s->columns, s->y, s->ldy);
	}
}

// A type of weights.
struct matmul_type {
	enum ggml_type type, x_type; // of the weights, and of the rows that they multiply
	int64_t values, bytes;       // of a block
	size_t input;                // bytes of STEP values of a row as copy makes them
	int64_t few;                 // as many rows go through dots, up to NARROW through narrow, more through wide

	// brings n values of a row, at most STEP, into the form that products want
	void (*copy)(const void * x, int64_t n, void * input);

	// multiplies any number of rows of weights with few rows
	void (*dots)(const struct strip * s);

	// multiplies up to NR(1) or NR(2) rows of weights with rows
	void (*narrow)(const struct strip * s);
	void (*wide)(const struct strip * s);
};

// Those of matmul_q8_k.c, matmul_q8_0.c and matmul_bf16.c; NULL ends each list.
extern const struct matmul_type *const pg_types_q8_K[], *const pg_types_q8_0[], *const pg_types_bf16[];

#endif
