// What products of our own (product.c) have in common with the types that they
// take. For x86 only.
#pragma once

#include "rows.h"
#include "simd.h"

#include <immintrin.h>

// Code for processors that pg_multiplies has found to have what it takes, which
// may be more for some types.
#ifndef PG_MORE
#define PG_MORE ""
#endif
#ifdef __clang__
#define PG_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni" PG_MORE ",avx2,fma,f16c")))
#define PG_UNROLL _Pragma("unroll")
#else
#define PG_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni" PG_MORE ",avx2,fma,f16c"), optimize("O3")))
#define PG_UNROLL _Pragma("GCC unroll 16")
#endif
#define PG_INLINE static inline __attribute__((always_inline))

#define PG_LANES 16  // rows of weights side by side in a vector
#define PG_VECTORS 2 // such vectors of a tile
#define PG_TALL 6    // rows of a tile: each value of a row that is loaded meets PG_VECTORS vectors of weights
#define PG_DEEP 2048 // most values of a row that are multiplied at once

// Where weights meet one row, so many rows of them that lie far apart meet each
// block of it while it is close at hand; each is read from its beginning to its
// end, which the memory likes, and asked for so many bytes ahead, past the
// caches: it is used once.
#define PG_STREAMS 4
#define PG_AHEAD 1024

// A type of weights. Blocks are those of the rows that they multiply, too.
struct pg_kind {
	enum ggml_type type, rows;    // of the weights, and of the rows that they multiply
	int64_t        values, bytes; // of a block
	int64_t        deep;          // blocks of a chunk, at most
	size_t         panel, input;  // bytes that a chunk of PG_LANES rows of weights takes, unpacked, and one of a row

	// y[i] = x · row i of a, for rows that are stride bytes apart
	void (*one)(int64_t rows, int64_t blocks, const uint8_t * a, size_t stride, const void * x, float * y);

	// unpacks a chunk of PG_LANES rows
	void (*pack)(const uint8_t * const * rows, int64_t blocks, void * panel);

	// brings a chunk of a row into the form in which tiles want it
	void (*copy)(const void * x, int64_t blocks, void * input);

	// y [rows, PG_VECTORS·PG_LANES] = or += x [rows, chunk] · p for at most PG_TALL rows; rows of y are n apart, and
	// its columns that are not in mask are left alone
	void (*tile)(int64_t rows, const void * p, const void * x, int64_t blocks, float * y, int64_t n, bool add, uint32_t mask);
};

// Those of product_k.c, product_0.c and product_bf16.c; the last one of each has no values.
extern const struct pg_kind pg_kinds_K[], pg_kinds_0[], pg_kinds_bf16[];

// PG_FUNCTIONS makes the functions of a type of those for all types of a file,
// given its traits, and PG_NAMES lists them.
#define PG_FUNCTIONS(traits, name, ...)                                                                                                  \
	PG_VNNI static void one_##name(int64_t rows, int64_t blocks, const uint8_t * a, size_t stride, const void * x, float * y) {         \
		const int64_t step = rows / PG_STREAMS;                                                                                         \
		for (int64_t r = 0; r < step; r++) {                                                                                            \
			dots(traits(name, __VA_ARGS__), PG_STREAMS, blocks, a + r * stride, step * stride, x, y + r, step);                         \
		}                                                                                                                               \
		for (int64_t r = step * PG_STREAMS; r < rows; r++) {                                                                            \
			dots(traits(name, __VA_ARGS__), 1, blocks, a + r * stride, 0, x, y + r, 0);                                                 \
		}                                                                                                                               \
	}                                                                                                                                   \
	PG_VNNI static void pack_##name(const uint8_t * const * rows, int64_t blocks, void * panel) {                                       \
		pack(traits(name, __VA_ARGS__), rows, blocks, panel);                                                                            \
	}                                                                                                                                    \
	PG_VNNI static void copy_##name(const void * x, int64_t blocks, void * input) { copy(traits(name, __VA_ARGS__), x, blocks, input); } \
	PG_VNNI static void tile_##name(int64_t rows, const void * p, const void * in, int64_t blocks, float * y, int64_t n, bool add,      \
	                                uint32_t mask) {                                                                                     \
		const struct input * x = in;                                                                                                     \
		if (rows == PG_TALL) {                                                                                                           \
			tile(traits(name, __VA_ARGS__), PG_TALL, p, x, blocks, y, n, add, mask);                                                     \
			return;                                                                                                                      \
		}                                                                                                                                \
		for (; rows >= 2; rows -= 2, x += 2, y += 2 * n) {                                                                               \
			tile(traits(name, __VA_ARGS__), 2, p, x, blocks, y, n, add, mask);                                                           \
		}                                                                                                                                \
		if (rows > 0) {                                                                                                                  \
			tile(traits(name, __VA_ARGS__), 1, p, x, blocks, y, n, add, mask);                                                           \
		}                                                                                                                                \
	}
#define PG_NAMES(name) one_##name, pack_##name, copy_##name, tile_##name

// PG_EACH goes through a tile: row r, vector w.
#define PG_EACH(rows)                       \
	PG_UNROLL for (int r = 0; r < rows; r++) \
	PG_UNROLL for (int w = 0; w < PG_VECTORS; w++)

// Vector w of a row of a tile's result so far, and of what comes of it.
PG_INLINE PG_VNNI __m512 pg_load(bool add, const float * y, int w, uint32_t mask) {
	return add ? _mm512_maskz_loadu_ps((__mmask16) (mask >> PG_LANES * w), y + PG_LANES * w) : _mm512_setzero_ps();
}

PG_INLINE PG_VNNI void pg_store(float * y, int w, uint32_t mask, __m512 v) {
	_mm512_mask_storeu_ps(y + PG_LANES * w, (__mmask16) (mask >> PG_LANES * w), v);
}

// Four values, over and over.
PG_INLINE PG_VNNI __m512i pg_four(const int8_t * p) {
	int32_t four;
	memcpy(&four, p, sizeof four);
	return _mm512_set1_epi32(four);
}

PG_INLINE PG_VNNI float pg_half(const uint8_t * p) {
	uint16_t h;
	memcpy(&h, p, sizeof h);
	return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

// ggml's kvalues_iq4nl, 128 added.
PG_INLINE PG_VNNI __m128i pg_curve(void) {
	return _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, (char) 129, (char) 141, (char) 153, (char) 166, (char) 181, (char) 197, (char) 217, (char) 241);
}

// Rows and columns of 16 × 16 numbers of 32 bits change places.
PG_INLINE PG_VNNI void pg_turn(__m512i * v) {
	__m512i t[16];
	for (int i = 0; i < 16; i += 4) { // within each four rows and four columns
		const __m512i a = _mm512_unpacklo_epi32(v[i], v[i + 1]), b = _mm512_unpackhi_epi32(v[i], v[i + 1]);
		const __m512i c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]), d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
		t[i] = _mm512_unpacklo_epi64(a, c);
		t[i + 1] = _mm512_unpackhi_epi64(a, c);
		t[i + 2] = _mm512_unpacklo_epi64(b, d);
		t[i + 3] = _mm512_unpackhi_epi64(b, d);
	}
	for (int i = 0; i < 4; i++) { // and these fours
		const __m512i a = _mm512_shuffle_i32x4(t[i], t[4 + i], 0x88), b = _mm512_shuffle_i32x4(t[i], t[4 + i], 0xdd);
		const __m512i c = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0x88), d = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0xdd);
		v[i] = _mm512_shuffle_i32x4(a, c, 0x88);
		v[4 + i] = _mm512_shuffle_i32x4(b, d, 0x88);
		v[8 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
		v[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
	}
}
