// Products of K-quants and iq4_xs with rows of Q8_K (matmul.c).
#include "matmul.h"

#ifdef PG_PRODUCTS

#define ISA_SET ISA_VNNI
#include "isa_begin.h"
#include "simd.h"
#include "unpack_k.h"

// What is constant for a type.
struct traits {
	enum ggml_type type;
	int values, bytes; // of a block
	int per;           // values that share a scale
};

// A block of a row.
struct input {
	int8_t q[QK_K];
	int32_t sums[QK_K / 32]; // two of 16 bits, of as many values as share a scale
	float d;
} __attribute__((aligned(64)));

INLINE void copy(const struct traits t, const struct block_q8_K * x, int64_t n, struct input * to) {
	(void) n;
	memcpy(to->q, x->qs, QK_K);
	const __m256i sums = _mm256_loadu_si256((const void *) x->sums);
	if (t.per == 16) {
		memcpy(to->sums, &sums, sizeof sums);
	} else {
		const __m128i both = _mm256_cvtepi32_epi16(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
		memcpy(to->sums, &both, sizeof both);
	}
	to->d = x->d;
}

// Results are sums over blocks, from the first to the last, of (d·total − dmin·low)·d', in single precision, of
// whole numbers total and low: however those are summed up, a row has the same bits in any product.

// --- one row ----------------------------------------------------------------

// Products of STREAMS rows of weights with 4 blocks, or fewer; block b and row r are at 4·b + r.
struct quad {
	__m512i total[16]; // to be summed up
	__m128i low[16];   // likewise
	float d[16], dmin[16];
};

INLINE void multiply_block(const struct traits t, const uint8_t * p, const struct input * x, struct quad * to, int at) {
	// which scale each pair of values has, of the first 64
	const __m512i first = _mm512_srli_epi16(_mm512_set_epi32(0x180018, 0x180018, 0x180018, 0x180018, 0x100010, 0x100010,
															 0x100010, 0x100010, //
															 0x080008, 0x080008, 0x080008, 0x080008, 0, 0, 0, 0),
											3);
	prefetch_once(p, t.bytes);
	const struct block b = unpack(t.type, p);
	__m512i total = _mm512_setzero_si512();
	UNROLL
	for (int j = 0; j < 4; j++) {
		const __m512i which = _mm512_add_epi16(first, _mm512_set1_epi16((short) (4 * j)));
		const __m512i scale = _mm512_permutexvar_epi16(which, _mm512_castsi256_si512(b.scale));
		const __m512i v = _mm512_load_si512(x->q + 64 * j);
		if (t.type == GGML_TYPE_IQ4_XS) { // pairs may not fit 16 bits
			const __m512i fours = _mm512_dpbusd_epi32(_mm512_setzero_si512(), b.q[j], v);
			total = _mm512_add_epi32(total, _mm512_mullo_epi32(fours, _mm512_srai_epi32(scale, 16)));
		} else {
			total = _mm512_dpwssd_epi32(total, _mm512_maddubs_epi16(b.q[j], v), scale);
		}
	}
	to->total[at] = total;
	if (t.per == 16) {
		const __m256i low = _mm256_madd_epi16(b.low, _mm256_load_si256((const void *) x->sums));
		to->low[at] = _mm_add_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
	} else {
		to->low[at] = _mm_madd_epi16(_mm256_cvtepi32_epi16(b.low), _mm_load_si128((const void *) x->sums));
	}
	to->d[at] = b.d;
	to->dmin[at] = b.dmin;
}

INLINE __m128 add_quad(__m128 sum, const struct quad * q, const struct input * x, int blocks) {
	__m512i low[4];
	UNROLL
	for (int r = 0; r < STREAMS; r++) {
		low[r] = _mm512_inserti32x4(_mm512_castsi128_si512(q->low[r]), q->low[4 + r], 1);
		low[r] = _mm512_inserti32x4(_mm512_inserti32x4(low[r], q->low[8 + r], 2), q->low[12 + r], 3);
	}
	const __m512 lows = _mm512_mul_ps(_mm512_cvtepi32_ps(sum_quarters(low)), _mm512_loadu_ps(q->dmin));
	const __m512 all = _mm512_fmsub_ps(_mm512_cvtepi32_ps(sum16(q->total)), _mm512_loadu_ps(q->d), lows);
	float block[4][STREAMS];
	_mm512_storeu_ps(block, all);
	for (int b = 0; b < blocks; b++) {
		sum = _mm_fmadd_ps(_mm_loadu_ps(block[b]), _mm_set1_ps(x[b].d), sum);
	}
	return sum;
}

// Multiplies weights i, i + step, …, streams of them, with a row.
INLINE void dots(const struct traits t, const struct strip * s, int64_t i, int64_t step, int streams) {
	const uint8_t * row[STREAMS];
	for (int r = 0; r < STREAMS; r++) { // the last one stands in for those that are missing
		row[r] = s->a + (i + (r < streams ? r : streams - 1) * step) * s->stride;
	}
	const struct input * x = s->x;
	const int64_t blocks = s->k / QK_K;
	__m128 sum = _mm_setzero_ps();
	struct quad q;
	for (int64_t k = 0; k < blocks; k += 4, x += 4) {
		const int n = blocks - k < 4 ? (int) (blocks - k) : 4;
		if (n < 4) {
			memset(&q, 0, sizeof q);
		}
		for (int b = 0; b < n; b++) {
			UNROLL
			for (int r = 0; r < STREAMS; r++) {
				multiply_block(t, row[r] + (k + b) * t.bytes, x + b, &q, 4 * b + r);
			}
		}
		sum = add_quad(sum, &q, x, n);
	}
	float y[STREAMS];
	_mm_storeu_ps(y, sum);
	for (int r = 0; r < streams; r++) {
		s->y[i + r * step] = y[r];
	}
}

// --- many rows --------------------------------------------------------------

// A block of each of LANES rows of weights, unpacked and transposed: four values of each row, then the next four.
struct panel {
	uint8_t q[QK_K / 4][4 * LANES];
	int32_t scale[QK_K / 16][LANES]; // where 32 values share one, in even places
	int32_t low[QK_K / 32][LANES];   // two of 16 bits
	float d[LANES], dmin[LANES];
} __attribute__((aligned(64)));

INLINE void store_q(struct panel * p, int at, __m512i q) {
	_mm512_store_si512(p->q[at], q);
}

// 32 bytes: those of 32 values in the low bits, of the next 32 in the high ones.
INLINE void pack_q4_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	for (int z = 0; z < 4; z++) {
		__m512i v[8];
		load_columns(rows, at + 16 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			store_q(p, 16 * z + c, bits(v[c], 0, 15, 0));
			store_q(p, 16 * z + 8 + c, bits(v[c], 4, 15, 0));
		}
	}
}

INLINE void pack_q5_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	__m512i high[8];
	load_columns(rows, at + 16, high);
	for (int z = 0; z < 4; z++) {
		__m512i v[8];
		load_columns(rows, at + 48 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			store_q(p, 16 * z + c, _mm512_or_si512(bits(v[c], 0, 15, 0), bits(high[c], 0, 1, 4)));
			store_q(p, 16 * z + 8 + c, _mm512_or_si512(bits(v[c], 4, 15, 0), bits(high[c], 1, 1, 4)));
			high[c] = _mm512_srli_epi16(high[c], 2);
		}
	}
}

INLINE void pack_q6_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	for (int z = 0; z < 2; z++) {
		__m512i high[8];
		load_columns(rows, at + 128 + 32 * z, high);
		UNROLL
		for (int s = 0; s < 2; s++) { // 32 values, and 64 after them
			__m512i v[8];
			load_columns(rows, at + 64 * z + 32 * s, v);
			UNROLL
			for (int c = 0; c < 8; c++) {
				const int to = 32 * z + 8 * s + c;
				store_q(p, to, _mm512_or_si512(bits(v[c], 0, 15, 0), bits(high[c], 2 * s, 3, 4)));
				store_q(p, to + 16, _mm512_or_si512(bits(v[c], 4, 15, 0), bits(high[c], 2 * s + 4, 3, 4)));
			}
		}
	}
}

INLINE void pack_q2_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	for (int z = 0; z < 2; z++) {
		__m512i v[8];
		load_columns(rows, at + 16 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			UNROLL
			for (int s = 0; s < 4; s++) {
				store_q(p, 32 * z + 8 * s + c, bits(v[c], 2 * s, 3, 0));
			}
		}
	}
}

INLINE void pack_q3_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	__m512i high[8];
	load_columns(rows, at, high);
	for (int z = 0; z < 2; z++) {
		__m512i v[8];
		load_columns(rows, at + 32 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			UNROLL
			for (int s = 0; s < 4; s++) {
				store_q(p, 32 * z + 8 * s + c, _mm512_or_si512(bits(v[c], 2 * s, 3, 0), bits(high[c], s, 1, 2)));
			}
			high[c] = _mm512_srli_epi16(high[c], 4);
		}
	}
}

INLINE void pack_iq4_xs(const uint8_t * const * rows, size_t at, struct panel * p) {
	const __m512i codes = _mm512_broadcast_i32x4(codebook());
	for (int z = 0; z < 4; z++) {
		__m512i v[8];
		load_columns(rows, at + 8 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			const int to = 16 * z + 8 * (c / 4) + c % 4;
			store_q(p, to, _mm512_shuffle_epi8(codes, bits(v[c], 0, 15, 0)));
			store_q(p, to + 4, _mm512_shuffle_epi8(codes, bits(v[c], 4, 15, 0)));
		}
	}
}

// Returns the first two bytes of four, or the second two, as 16 bits each.
INLINE __m512i widen(__m512i v, int second) {
	v = _mm512_srli_epi32(v, second ? 16 : 0);
	const __m512i high = _mm512_and_si512(_mm512_slli_epi32(v, 8), _mm512_set1_epi32(0xff0000));
	return _mm512_or_si512(_mm512_and_si512(v, _mm512_set1_epi32(0xff)), high);
}

// The heads of q4_K and q5_K (unpack_head), 16 at once.
INLINE void pack_heads_4(const uint8_t * const * rows, size_t at, struct panel * p) {
	__m512i v[4], scale[2], low[2];
	load_heads(rows, at, v);
	_mm512_store_ps(p->d, low_halves(v[0]));
	_mm512_store_ps(p->dmin, high_halves(v[0]));
	scale[0] = bits(v[1], 0, 63, 0);
	scale[1] = _mm512_or_si512(bits(v[3], 0, 15, 0), bits(v[1], 6, 3, 4));
	low[0] = bits(v[2], 0, 63, 0);
	low[1] = _mm512_or_si512(bits(v[3], 4, 15, 0), bits(v[2], 6, 3, 4));
	UNROLL
	for (int s = 0; s < 8; s++) {
		const __m512i byte = _mm512_and_si512(_mm512_srli_epi32(scale[s / 4], s % 4 * 8), _mm512_set1_epi32(255));
		_mm512_store_si512(p->scale[2 * s], byte);
	}
	UNROLL
	for (int s = 0; s < 4; s++) {
		_mm512_store_si512(p->low[s], widen(low[s / 2], s % 2));
	}
}

// The head of q2_K: 16 scales in the low and lows in the high halves of bytes.
INLINE void pack_heads_2(const uint8_t * const * rows, size_t at, struct panel * p) {
	__m512i v[4];
	load_heads(rows, at, v);
	UNROLL
	for (int s = 0; s < 16; s++) {
		const __m512i byte = _mm512_srli_epi32(v[s / 4], s % 4 * 8);
		_mm512_store_si512(p->scale[s], _mm512_and_si512(byte, _mm512_set1_epi32(15)));
	}
	UNROLL
	for (int s = 0; s < 8; s++) {
		_mm512_store_si512(p->low[s], widen(bits(v[s / 2], 4, 15, 0), s % 2));
	}
	const __m512i d = load_dwords(rows, at + 80);
	_mm512_store_ps(p->d, low_halves(d));
	_mm512_store_ps(p->dmin, high_halves(d));
}

// 16 scales of 8 bits each.
INLINE void pack_heads_6(const uint8_t * const * rows, size_t at, struct panel * p) {
	__m512i v[4];
	load_heads(rows, at + 192, v);
	UNROLL
	for (int s = 0; s < 16; s++) {
		const __m512i top = _mm512_slli_epi32(v[s / 4], 24 - s % 4 * 8);
		_mm512_store_si512(p->scale[s], _mm512_srai_epi32(top, 24));
	}
	UNROLL
	for (int s = 0; s < 8; s++) { // 32 times two of them
		const __m512i word = _mm512_srli_epi32(v[s / 2], s % 2 * 16), second = _mm512_slli_epi32(word, 16);
		const __m512i first = _mm512_and_si512(_mm512_slli_epi32(word, 8), _mm512_set1_epi32(0xff00));
		const __m512i pair = _mm512_or_si512(first, _mm512_and_si512(second, _mm512_set1_epi32((int) 0xff000000)));
		_mm512_store_si512(p->low[s], _mm512_srai_epi16(pair, 3));
	}
	const __m512 d = high_halves(load_dwords(rows, at + 206));
	_mm512_store_ps(p->d, d);
	_mm512_store_ps(p->dmin, d);
}

// Any type, block by block.
INLINE void pack_heads(const struct traits t, const uint8_t * const * rows, size_t at, struct panel * p) {
	__m512i scale[LANES], low[LANES];
	for (int r = 0; r < LANES; r++) {
		const struct block b = unpack(t.type, rows[r] + at);
		scale[r] = _mm512_cvtepi16_epi32(b.scale);
		// where two neighbours are alike, those of even places
		low[r] = t.per == 16 ? _mm512_zextsi256_si512(b.low) : _mm512_zextsi128_si512(_mm256_cvtepi32_epi16(b.low));
		p->d[r] = b.d;
		p->dmin[r] = b.dmin;
	}
	transpose16x16(scale);
	memcpy(p->scale, scale, sizeof p->scale);
	transpose16x16(low);
	memcpy(p->low, low, sizeof p->low);
}

INLINE void pack(const struct traits t, const uint8_t * const * rows, size_t at, int64_t n, struct panel * p) {
	(void) n;
	switch (t.type) {
	case GGML_TYPE_Q2_K:
		pack_q2_K(rows, at, p);
		pack_heads_2(rows, at, p);
		break;
	case GGML_TYPE_Q3_K:
		pack_q3_K(rows, at, p);
		pack_heads(t, rows, at, p);
		break;
	case GGML_TYPE_Q4_K:
		pack_q4_K(rows, at, p);
		pack_heads_4(rows, at, p);
		break;
	case GGML_TYPE_Q5_K:
		pack_q5_K(rows, at, p);
		pack_heads_4(rows, at, p);
		break;
	case GGML_TYPE_IQ4_XS:
		pack_iq4_xs(rows, at, p);
		pack_heads(t, rows, at, p);
		break;
	default:
		pack_q6_K(rows, at, p);
		pack_heads_6(rows, at, p);
	}
}

// part = x · p over the values of scale s, for each row and vector.
INLINE void multiply_group(const int per, const int nv, const int rows, int s, const struct panel * p,
						   const struct input * x, __m512i * part) {
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		part[u] = _mm512_setzero_si512();
	}
	UNROLL
	for (int k = 0; k < per / 4; k++) {
		__m512i q[2];
		UNROLL
		for (int w = 0; w < nv; w++) {
			q[w] = _mm512_load_si512(p[w].q[s * per / 4 + k]);
		}
		UNROLL
		for (int u = 0; u < rows * nv; u++) {
			part[u] = _mm512_dpbusd_epi32(part[u], q[u % nv], load4(x[u / nv].q + s * per + 4 * k));
		}
	}
}

// sums [rows, NR(nv)] += x · p for at most MR(nv) rows.
INLINE void multiply_rows(const int per, const int nv, const int rows, const struct panel * p, const struct input * x,
						  float * sums, struct ahead next) {
	__m512i total[TILE], part[TILE];
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		total[u] = _mm512_setzero_si512();
	}
	for (int s = 0; s < QK_K / per; s++) {
		prefetch_part(next, nv, s, QK_K / per);
		multiply_group(per, nv, rows, s, p, x, part);
		UNROLL
		for (int u = 0; u < rows * nv; u++) {
			const __m512i scale = _mm512_load_si512(p[u % nv].scale[s * per / 16]);
			total[u] = _mm512_add_epi32(total[u], _mm512_mullo_epi32(part[u], scale));
		}
	}
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		const struct panel * w = p + u % nv;
		const struct input * row = x + u / nv;
		float * sum = sums + u * LANES;
		__m512i low = _mm512_setzero_si512();
		UNROLL
		for (int s = 0; s < QK_K / per / 2; s++) {
			low = _mm512_dpwssd_epi32(low, _mm512_load_si512(w->low[s]), _mm512_set1_epi32(row->sums[s]));
		}
		const __m512 lows = _mm512_mul_ps(_mm512_cvtepi32_ps(low), _mm512_load_ps(w->dmin));
		const __m512 all = _mm512_fmsub_ps(_mm512_cvtepi32_ps(total[u]), _mm512_load_ps(w->d), lows);
		_mm512_store_ps(sum, _mm512_fmadd_ps(all, _mm512_set1_ps(row->d), _mm512_load_ps(sum)));
	}
}

// For types whose scales are of 16 and of 32 values.
#define NV 1
#define MULTIPLY multiply_16_1
#define MULTIPLY_ROWS(rows) multiply_rows(16, 1, rows, p, x, sums, next)
#include "matmul_rows.h"

#define NV 2
#define MULTIPLY multiply_16_2
#define MULTIPLY_ROWS(rows) multiply_rows(16, 2, rows, p, x, sums, next)
#include "matmul_rows.h"

#define NV 1
#define MULTIPLY multiply_32_1
#define MULTIPLY_ROWS(rows) multiply_rows(32, 1, rows, p, x, sums, next)
#include "matmul_rows.h"

#define NV 2
#define MULTIPLY multiply_32_2
#define MULTIPLY_ROWS(rows) multiply_rows(32, 2, rows, p, x, sums, next)
#include "matmul_rows.h"

INLINE void multiply(const struct traits t, const int nv, int rows, int64_t n, const struct panel * p,
					 const struct input * x, float * sums, struct ahead next) {
	if (t.per == 16) {
		(nv == 1 ? multiply_16_1 : multiply_16_2)(rows, n, p, x, sums, next);
	} else {
		(nv == 1 ? multiply_32_1 : multiply_32_2)(rows, n, p, x, sums, next);
	}
}

// --- types ------------------------------------------------------------------

// of each, the bytes of a block and the values that share a scale
#define TYPE Q2_K
#define TRAITS GGML_TYPE_Q2_K, QK_K, 84, 16
#include "matmul_type.h"

#define TYPE Q3_K
#define TRAITS GGML_TYPE_Q3_K, QK_K, 110, 16
#include "matmul_type.h"

#define TYPE Q4_K
#define TRAITS GGML_TYPE_Q4_K, QK_K, 144, 32
#include "matmul_type.h"

#define TYPE Q5_K
#define TRAITS GGML_TYPE_Q5_K, QK_K, 176, 32
#include "matmul_type.h"

#define TYPE Q6_K
#define TRAITS GGML_TYPE_Q6_K, QK_K, 210, 16
#include "matmul_type.h"

#define TYPE IQ4_XS
#define TRAITS GGML_TYPE_IQ4_XS, QK_K, 136, 32
#include "matmul_type.h"

#include "isa_end.h"

#define ENTRY(name, bytes)                                                                 \
	{GGML_TYPE_##name, GGML_TYPE_Q8_K, QK_K,          bytes,      sizeof(struct input), 1, \
	 copy_##name,      dots_##name,    narrow_##name, wide_##name}

const struct matmul_type pg_types_q8_K[] = {
	ENTRY(Q2_K, 84), ENTRY(Q3_K, 110), ENTRY(Q4_K, 144), ENTRY(Q5_K, 176), ENTRY(Q6_K, 210), ENTRY(IQ4_XS, 136), {0},
};

#endif
