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
	int bytes; // of a block
	int per;   // values that share a scale
};

// --- one row ----------------------------------------------------------------

INLINE void dots(const struct traits t, const int streams, int64_t blocks, const uint8_t * a, size_t apart,
				 const struct block_q8_K * x, float * y, int64_t step) {
	// which scale each pair of values has, of the first 64
	const __m512i first = _mm512_srli_epi16(_mm512_set_epi32(0x180018, 0x180018, 0x180018, 0x180018, 0x100010, 0x100010,
															 0x100010, 0x100010, //
															 0x080008, 0x080008, 0x080008, 0x080008, 0, 0, 0, 0),
											3);
	__m512 sum[STREAMS];
	__m256 low[STREAMS];
	UNROLL
	for (int r = 0; r < streams; r++) {
		sum[r] = _mm512_setzero_ps();
		low[r] = _mm256_setzero_ps();
	}
	for (int64_t i = 0; i < blocks; i++, a += t.bytes) {
		UNROLL
		for (int r = 0; r < streams; r++) {
			const uint8_t * p = a + r * apart;
			for (int j = 0; j < t.bytes; j += 64) {
				_mm_prefetch((const char *) p + PREFETCH + j, _MM_HINT_NTA);
			}
			const struct block b = unpack(t.type, p);
			__m512i total = _mm512_setzero_si512();
			UNROLL
			for (int j = 0; j < 4; j++) {
				const __m512i which = _mm512_add_epi16(first, _mm512_set1_epi16((short) (4 * j)));
				const __m512i scale = _mm512_permutexvar_epi16(which, _mm512_castsi256_si512(b.scale));
				const __m512i v = _mm512_loadu_si512(x[i].qs + 64 * j);
				if (t.type == GGML_TYPE_IQ4_XS) { // pairs may not fit 16 bits
					const __m512i fours = _mm512_dpbusd_epi32(_mm512_setzero_si512(), b.q[j], v);
					total = _mm512_add_epi32(total, _mm512_mullo_epi32(fours, _mm512_srai_epi32(scale, 16)));
				} else {
					total = _mm512_dpwssd_epi32(total, _mm512_maddubs_epi16(b.q[j], v), scale);
				}
			}
			sum[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total), _mm512_set1_ps(b.d * x[i].d), sum[r]);
			const __m256i lows = _mm256_madd_epi16(b.low, _mm256_loadu_si256((const void *) x[i].sums));
			low[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(lows), _mm256_set1_ps(b.dmin * x[i].d), low[r]);
		}
	}
	UNROLL
	for (int r = 0; r < streams; r++) {
		y[r * step] = _mm512_reduce_add_ps(sum[r]) - _mm512_reduce_add_ps(_mm512_zextps256_ps512(low[r]));
	}
}

// --- many rows --------------------------------------------------------------

#define BLOCKS (KC / QK_K)

// A block of each of LANES rows of weights, unpacked and turned: four values
// of each row, then the next four.
struct panel {
	uint8_t q[QK_K / 4][4 * LANES];
	int32_t scale[QK_K / 16][LANES];
	int32_t low[QK_K / 32][LANES]; // two of 16 bits
	float d[LANES], dmin[LANES];
} __attribute__((aligned(64)));

// A chunk of a row. Its length is an odd number of cache lines, so that rows of
// a tile do not contend for the same few places of the cache.
struct input {
	int8_t q[BLOCKS][QK_K];
	int32_t sums[BLOCKS][QK_K / 32]; // two of 16 bits
	float d[BLOCKS];
	char odd[64 - BLOCKS * sizeof(float)];
} __attribute__((aligned(64)));

INLINE void pack(const struct traits t, const uint8_t * const * rows, int64_t blocks, struct panel * p) {
	for (int64_t i = 0; i < blocks; i++, p++) {
		__m512i part[6][LANES];
		for (int r = 0; r < LANES; r++) {
			const struct block b = unpack(t.type, rows[r] + i * t.bytes);
			for (int j = 0; j < 4; j++) {
				part[j][r] = b.q[j];
			}
			part[4][r] = _mm512_cvtepi16_epi32(b.scale);
			// where two neighbours are alike, those of even places
			part[5][r] =
				t.per == 16 ? _mm512_zextsi256_si512(b.low) : _mm512_zextsi128_si512(_mm256_cvtepi32_epi16(b.low));
			p->d[r] = b.d;
			p->dmin[r] = b.dmin;
		}
		for (int j = 0; j < 6; j++) {
			transpose16x16(part[j]);
		}
		memcpy(p->q, part, sizeof p->q);
		memcpy(p->scale, part[4], sizeof p->scale);
		memcpy(p->low, part[5], sizeof p->low);
	}
}

// Sums are of as many values as share a scale.
INLINE void copy(const struct traits t, const struct block_q8_K * x, int64_t blocks, struct input * to) {
	for (int64_t i = 0; i < blocks; i++) {
		memcpy(to->q[i], x[i].qs, QK_K);
		const __m256i sums = _mm256_loadu_si256((const void *) x[i].sums);
		if (t.per == 16) {
			memcpy(to->sums[i], &sums, sizeof sums);
		} else {
			const __m128i both = _mm256_cvtepi32_epi16(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
			memcpy(to->sums[i], &both, sizeof both);
		}
		to->d[i] = x[i].d;
	}
}

INLINE void tile(const struct traits t, const int rows, const struct panel * p, const struct input * x, int64_t blocks,
				 float * y, int64_t ldy, bool add, uint32_t mask) {
	__m512 sum[MR][NV];
	UNROLL
	for (int u = 0; u < rows * NV; u++) {
		const int r = u / NV, w = u % NV;
		sum[r][w] = load_result(add, y + r * ldy, w, mask);
	}
	for (int64_t i = 0; i < blocks; i++, p++) {
		__m512i total[MR][NV], part[MR][NV], q[NV];
		UNROLL
		for (int u = 0; u < rows * NV; u++) {
			const int r = u / NV, w = u % NV;
			total[r][w] = _mm512_setzero_si512();
		}
		for (int s = 0; s < QK_K / t.per; s++) {
			UNROLL
			for (int u = 0; u < rows * NV; u++) {
				const int r = u / NV, w = u % NV;
				part[r][w] = _mm512_setzero_si512();
			}
			UNROLL
			for (int k = 0; k < t.per / 4; k++) {
				UNROLL
				for (int w = 0; w < NV; w++) {
					q[w] = _mm512_load_si512(p[w * BLOCKS].q[s * t.per / 4 + k]);
				}
				UNROLL
				for (int u = 0; u < rows * NV; u++) {
					const int r = u / NV, w = u % NV;
					part[r][w] = _mm512_dpbusd_epi32(part[r][w], q[w], load4(x[r].q[i] + s * t.per + 4 * k));
				}
			}
			UNROLL
			for (int w = 0; w < NV; w++) {
				q[w] = _mm512_load_si512(p[w * BLOCKS].scale[s * t.per / 16]);
			}
			UNROLL
			for (int u = 0; u < rows * NV; u++) {
				const int r = u / NV, w = u % NV;
				total[r][w] = _mm512_add_epi32(total[r][w], _mm512_mullo_epi32(part[r][w], q[w]));
			}
		}
		UNROLL
		for (int u = 0; u < rows * NV; u++) {
			const int r = u / NV, w = u % NV;
			part[r][w] = _mm512_setzero_si512();
		}
		for (int s = 0; s < QK_K / t.per / 2; s++) {
			UNROLL
			for (int u = 0; u < rows * NV; u++) {
				const int r = u / NV, w = u % NV;
				part[r][w] = _mm512_dpwssd_epi32(part[r][w], _mm512_load_si512(p[w * BLOCKS].low[s]),
												 _mm512_set1_epi32(x[r].sums[i][s]));
			}
		}
		UNROLL
		for (int u = 0; u < rows * NV; u++) {
			const int r = u / NV, w = u % NV;
			const __m512 low = _mm512_mul_ps(_mm512_cvtepi32_ps(part[r][w]), _mm512_load_ps(p[w * BLOCKS].dmin));
			const __m512 all = _mm512_fmsub_ps(_mm512_cvtepi32_ps(total[r][w]), _mm512_load_ps(p[w * BLOCKS].d), low);
			sum[r][w] = _mm512_fmadd_ps(all, _mm512_set1_ps(x[r].d[i]), sum[r][w]);
		}
	}
	UNROLL
	for (int u = 0; u < rows * NV; u++) {
		const int r = u / NV, w = u % NV;
		store_result(y + r * ldy, w, mask, sum[r][w]);
	}
}

// --- types ------------------------------------------------------------------

// of each, the bytes of a block and the values that share a scale
#define TYPE Q2_K
#define TRAITS GGML_TYPE_Q2_K, 84, 16
#include "matmul_type.h"

#define TYPE Q3_K
#define TRAITS GGML_TYPE_Q3_K, 110, 16
#include "matmul_type.h"

#define TYPE Q4_K
#define TRAITS GGML_TYPE_Q4_K, 144, 32
#include "matmul_type.h"

#define TYPE Q5_K
#define TRAITS GGML_TYPE_Q5_K, 176, 32
#include "matmul_type.h"

#define TYPE Q6_K
#define TRAITS GGML_TYPE_Q6_K, 210, 16
#include "matmul_type.h"

#define TYPE IQ4_XS
#define TRAITS GGML_TYPE_IQ4_XS, 136, 32
#include "matmul_type.h"

#include "isa_end.h"

#define ENTRY(name, bytes)                                                                                      \
	{GGML_TYPE_##name,     GGML_TYPE_Q8_K, QK_K,        bytes,       BLOCKS,     BLOCKS * sizeof(struct panel), \
	 sizeof(struct input), gemv_##name,    pack_##name, copy_##name, tile_##name}

const struct matmul_type pg_types_q8_K[] = {
	ENTRY(Q2_K, 84), ENTRY(Q3_K, 110), ENTRY(Q4_K, 144), ENTRY(Q5_K, 176), ENTRY(Q6_K, 210), ENTRY(IQ4_XS, 136), {0},
};

#endif
