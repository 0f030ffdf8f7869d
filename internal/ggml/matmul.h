// What matrix products (matmul.c) have in common with the types that they take. For x86 only.
#pragma once

#include "isa.h"
#include "rows.h"

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

// Sizes are named as in BLIS (https://doi.org/10.1145/2764454): tiles of MR rows and NR weights, KC values of a row
// multiplied at once, MC rows for which weights are unpacked once.
#define LANES 16 // rows of weights side by side in a vector
#define NV 2     // such vectors of a tile
#define NR (NV * LANES)
#define MR 6 // rows of a tile: each value of a row that is loaded meets NV vectors of weights
#define KC 2048
#define MC 288

// A product with one row reads STREAMS rows of weights that lie far apart, so that they meet each block of it
// while it is close at hand; each is read from its beginning to its end, which the memory likes, and asked for
// PREFETCH bytes ahead, past the caches: it is used once.
#define STREAMS 4
#define PREFETCH 1024

// A type of weights. Blocks are those of the rows that they multiply, too.
struct matmul_type {
	enum ggml_type type, x_type; // of the weights, and of the rows that they multiply
	int64_t values, bytes;       // of a block
	int64_t kc;                  // blocks of a chunk, at most
	size_t panel, input;         // bytes that a chunk of LANES rows of weights takes, unpacked, and one of a row

	// y[i] = x · row i of a, for rows that are stride bytes apart
	void (*gemv)(int64_t rows, int64_t blocks, const uint8_t * a, size_t stride, const void * x, float * y);

	// unpacks a chunk of LANES rows of weights
	void (*pack)(const uint8_t * const * rows, int64_t blocks, void * panel);

	// brings a chunk of a row into the form in which tiles want it
	void (*copy)(const void * x, int64_t blocks, void * input);

	// y [rows, NR] = or += x [rows, chunk] · p for at most MR rows; rows of y are ldy apart, and its columns that are
	// not in mask are left alone
	void (*tile)(int64_t rows, const void * p, const void * x, int64_t blocks, float * y, int64_t ldy, bool add,
				 uint32_t mask);
};

// Those of matmul_q8_k.c, matmul_q8_0.c and matmul_bf16.c; the last one of each has no values.
extern const struct matmul_type pg_types_q8_K[], pg_types_q8_0[], pg_types_bf16[];

#endif
