#include "kernels.h"
#include "rows.h"
#include "simd.h"

// Products with K-quants, in ggml's own layout of the weights: one row as fast
// as the memory delivers them, many rows by a product in tiles. Whole numbers
// are exact, so results differ from ggml's only in how blocks are summed up.

#ifdef PG_DISPATCH
#include "kquants.h"

#define UNROLL _Pragma("GCC unroll 16")

// --- one row ----------------------------------------------------------------

// Four rows of weights that lie far apart meet each block of the row while it is
// close at hand; each is read from its beginning to its end, which the
// memory likes. Bytes are asked for so many ahead, past the caches: each is used once.
#define STREAMS 4
#define AHEAD 1024

#define PG_ONE(name, bytes)                                                                                                     \
	PG_INLINE PG_VNNI void dots_##name(const int streams, int64_t blocks, const uint8_t * a, size_t apart, const struct pg_q8_K * x, \
	                                   float * y, int64_t step) {                                                               \
		/* which scale each pair of values has, of the first 64 */                                                              \
		const __m512i first = _mm512_srli_epi16(_mm512_set_epi32(                                                               \
			0x180018, 0x180018, 0x180018, 0x180018, 0x100010, 0x100010, 0x100010, 0x100010,                                     \
			0x080008, 0x080008, 0x080008, 0x080008, 0, 0, 0, 0), 3);                                                            \
		__m512 sum[STREAMS];                                                                                                    \
		__m256 low[STREAMS];                                                                                                    \
		UNROLL for (int r = 0; r < streams; r++) {                                                                              \
			sum[r] = _mm512_setzero_ps();                                                                                       \
			low[r] = _mm256_setzero_ps();                                                                                       \
		}                                                                                                                       \
		for (int64_t i = 0; i < blocks; i++, a += (bytes)) {                                                                    \
			UNROLL for (int r = 0; r < streams; r++) {                                                                          \
				const uint8_t * p = a + r * apart;                                                                              \
				for (int j = 0; j < (bytes); j += 64) {                                                                         \
					_mm_prefetch((const char *) p + AHEAD + j, _MM_HINT_NTA);                                                   \
				}                                                                                                               \
				const struct pg_block b = pg_##name(p);                                                                         \
				__m512i total = _mm512_setzero_si512();                                                                         \
				UNROLL for (int j = 0; j < 4; j++) {                                                                            \
					const __m512i which = _mm512_add_epi16(first, _mm512_set1_epi16((short) (4 * j)));                          \
					const __m512i scale = _mm512_permutexvar_epi16(which, _mm512_castsi256_si512(b.scale));                     \
					const __m512i pairs = _mm512_maddubs_epi16(b.q[j], _mm512_loadu_si512(x[i].qs + 64 * j));                   \
					total = _mm512_dpwssd_epi32(total, pairs, scale);                                                           \
				}                                                                                                               \
				sum[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total), _mm512_set1_ps(b.d * x[i].d), sum[r]);                      \
				const __m256i lows = _mm256_madd_epi16(b.low, _mm256_loadu_si256((const void *) x[i].sums));                    \
				low[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(lows), _mm256_set1_ps(b.dmin * x[i].d), low[r]);                    \
			}                                                                                                                   \
		}                                                                                                                       \
		UNROLL for (int r = 0; r < streams; r++) {                                                                              \
			y[r * step] = _mm512_reduce_add_ps(sum[r]) - _mm512_reduce_add_ps(_mm512_zextps256_ps512(low[r]));                  \
		}                                                                                                                       \
	}                                                                                                                           \
	PG_VNNI static void one_##name(int64_t rows, int64_t blocks, const uint8_t * a, size_t stride, const struct pg_q8_K * x,    \
	                               float * y) {                                                                                 \
		const int64_t step = rows / STREAMS;                                                                                    \
		int64_t r = 0;                                                                                                          \
		for (; r < step; r++) {                                                                                                 \
			dots_##name(STREAMS, blocks, a + r * stride, step * stride, x, y + r, step);                                        \
		}                                                                                                                       \
		for (r = step * STREAMS; r < rows; r++) {                                                                               \
			dots_##name(1, blocks, a + r * stride, 0, x, y + r, 0);                                                             \
		}                                                                                                                       \
	}

// --- many rows --------------------------------------------------------------

#define LANES 16 // rows of weights of a panel, side by side in a vector
#define WIDE 2   // panels of a tile
#define TALL 6   // rows of a tile: each value of a row that is loaded meets WIDE vectors of weights
#define DEEP 8   // blocks of 256 that are multiplied at once
#define GROUP 288 // rows for which weights are unpacked once, and which stay in the cache

// A block of each of LANES rows of weights, unpacked and turned: four values of
// each row, then the next four.
struct panel {
	uint8_t q[PG_BLOCK / 4][4 * LANES];
	int32_t scale[PG_BLOCK / 16][LANES];
	int32_t low[PG_BLOCK / 32][LANES]; // two of 16 bits
	float   d[LANES], dmin[LANES];
} __attribute__((aligned(64)));

// A row to be multiplied. Its length is an odd number of cache lines, so that
// rows of a tile do not contend for the same few places of the cache.
struct input {
	int8_t  q[DEEP][PG_BLOCK];
	int32_t sums[DEEP][PG_BLOCK / 32]; // two of 16 bits
	float   d[DEEP];
	char    odd[64 - DEEP * sizeof(float)];
} __attribute__((aligned(64)));

// Rows and columns of 16 × 16 numbers change places.
PG_INLINE PG_VNNI void turn(__m512i * v) {
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

// 16 numbers of 16 bits, or, where two neighbours are alike, 8: those of even places.
PG_INLINE PG_VNNI __m512i lows(__m256i v, int per) {
	return per == 16 ? _mm512_zextsi256_si512(v) : _mm512_zextsi128_si512(_mm256_cvtepi32_epi16(v));
}

#define PG_PACK(name, per)                                                           \
	PG_VNNI static void pack_##name(const uint8_t * const * rows, struct panel * p) { \
		__m512i part[6][LANES];                                                      \
		for (int r = 0; r < LANES; r++) {                                            \
			const struct pg_block b = pg_##name(rows[r]);                            \
			for (int j = 0; j < 4; j++) {                                            \
				part[j][r] = b.q[j];                                                 \
			}                                                                        \
			part[4][r] = _mm512_cvtepi16_epi32(b.scale);                             \
			part[5][r] = lows(b.low, per);                                           \
			p->d[r] = b.d;                                                           \
			p->dmin[r] = b.dmin;                                                     \
		}                                                                            \
		for (int j = 0; j < 6; j++) {                                                \
			turn(part[j]);                                                           \
		}                                                                            \
		memcpy(p->q, part, sizeof p->q);                                             \
		memcpy(p->scale, part[4], sizeof p->scale);                                  \
		memcpy(p->low, part[5], sizeof p->low);                                      \
	}

// copy takes blocks of a row as tiles of weights with so many values of a scale want them.
PG_VNNI static void copy(const struct pg_q8_K * x, int64_t blocks, int per, struct input * to) {
	for (int64_t i = 0; i < blocks; i++) {
		memcpy(to->q[i], x[i].qs, PG_BLOCK);
		const __m256i sums = _mm256_loadu_si256((const void *) x[i].sums);
		if (per == 16) {
			memcpy(to->sums[i], &sums, sizeof sums);
		} else {
			const __m128i both = _mm256_cvtepi32_epi16(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
			memcpy(to->sums[i], &both, sizeof both);
		}
		to->d[i] = x[i].d;
	}
}

// A tile: y [rows, 32] = or += x [rows, blocks·256] · p. Columns of y that are
// not in mask are left alone.
PG_INLINE PG_VNNI void tile(const int rows, const int per, const struct panel * p, const struct input * x, int64_t blocks, float * y, int64_t n,
                            bool add, uint32_t mask) {
#define EACH                             \
	UNROLL for (int r = 0; r < rows; r++) \
	UNROLL for (int w = 0; w < WIDE; w++)
	__m512 sum[TALL][WIDE];
	EACH {
		sum[r][w] = add ? _mm512_maskz_loadu_ps((__mmask16) (mask >> LANES * w), y + r * n + LANES * w) : _mm512_setzero_ps();
	}
	for (int64_t i = 0; i < blocks; i++, p += WIDE) {
		__m512i total[TALL][WIDE], part[TALL][WIDE], q[WIDE];
		EACH {
			total[r][w] = _mm512_setzero_si512();
		}
		for (int s = 0; s < PG_BLOCK / per; s++) {
			EACH {
				part[r][w] = _mm512_setzero_si512();
			}
			UNROLL for (int k = 0; k < per / 4; k++) {
				UNROLL for (int w = 0; w < WIDE; w++) {
					q[w] = _mm512_load_si512(p[w].q[s * per / 4 + k]);
				}
				UNROLL for (int r = 0; r < rows; r++) {
					int32_t four;
					memcpy(&four, x[r].q[i] + s * per + 4 * k, sizeof four);
					UNROLL for (int w = 0; w < WIDE; w++) {
						part[r][w] = _mm512_dpbusd_epi32(part[r][w], q[w], _mm512_set1_epi32(four));
					}
				}
			}
			UNROLL for (int w = 0; w < WIDE; w++) {
				q[w] = _mm512_load_si512(p[w].scale[s * per / 16]);
			}
			EACH {
				total[r][w] = _mm512_add_epi32(total[r][w], _mm512_mullo_epi32(part[r][w], q[w]));
			}
		}
		EACH {
			part[r][w] = _mm512_setzero_si512();
		}
		for (int s = 0; s < PG_BLOCK / per / 2; s++) {
			EACH {
				part[r][w] = _mm512_dpwssd_epi32(part[r][w], _mm512_load_si512(p[w].low[s]), _mm512_set1_epi32(x[r].sums[i][s]));
			}
		}
		EACH {
			const __m512 low = _mm512_mul_ps(_mm512_cvtepi32_ps(part[r][w]), _mm512_load_ps(p[w].dmin));
			const __m512 all = _mm512_fmsub_ps(_mm512_cvtepi32_ps(total[r][w]), _mm512_load_ps(p[w].d), low);
			sum[r][w] = _mm512_fmadd_ps(all, _mm512_set1_ps(x[r].d[i]), sum[r][w]);
		}
	}
	EACH {
		_mm512_mask_storeu_ps(y + r * n + LANES * w, (__mmask16) (mask >> LANES * w), sum[r][w]);
	}
}

// A tile of up to TALL rows.
#define PG_TILE(per)                                                                                                                   \
	PG_VNNI static void tile_##per(int64_t rows, const struct panel * p, const struct input * x, int64_t blocks, float * y, int64_t n, \
	                               bool add, uint32_t mask) {                                                                          \
		if (rows == TALL) {                                                                                                            \
			tile(TALL, per, p, x, blocks, y, n, add, mask);                                                                            \
			return;                                                                                                                    \
		}                                                                                                                              \
		for (; rows >= 2; rows -= 2, x += 2, y += 2 * n) {                                                                             \
			tile(2, per, p, x, blocks, y, n, add, mask);                                                                               \
		}                                                                                                                              \
		if (rows > 0) {                                                                                                                \
			tile(1, per, p, x, blocks, y, n, add, mask);                                                                               \
		}                                                                                                                              \
	}
PG_TILE(16)
PG_TILE(32)

// --- types ------------------------------------------------------------------

struct kind {
	enum ggml_type type;
	int64_t        bytes; // of a block
	int            per;   // values that share a scale
	void (*one)(int64_t rows, int64_t blocks, const uint8_t * a, size_t stride, const struct pg_q8_K * x, float * y);
	void (*pack)(const uint8_t * const * rows, struct panel * p);
	void (*tile)(int64_t rows, const struct panel * p, const struct input * x, int64_t blocks, float * y, int64_t n, bool add, uint32_t mask);
};

// of a type, the bytes of a block and the values that share a scale
#define PG_KINDS(kind)  \
	kind(q2_K, 84, 16)  \
	kind(q3_K, 110, 16) \
	kind(q4_K, 144, 32) \
	kind(q5_K, 176, 32) \
	kind(q6_K, 210, 16)

#define PG_FUNCTIONS(name, bytes, per) \
	PG_ONE(name, bytes)                \
	PG_PACK(name, per)
PG_KINDS(PG_FUNCTIONS)

#define GGML_TYPE_q2_K GGML_TYPE_Q2_K
#define GGML_TYPE_q3_K GGML_TYPE_Q3_K
#define GGML_TYPE_q4_K GGML_TYPE_Q4_K
#define GGML_TYPE_q5_K GGML_TYPE_Q5_K
#define GGML_TYPE_q6_K GGML_TYPE_Q6_K
#define PG_KIND(name, bytes, per) {GGML_TYPE_##name, bytes, per, one_##name, pack_##name, tile_##per},
static const struct kind kinds[] = {PG_KINDS(PG_KIND)};

static const struct kind * find(enum ggml_type type) {
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (kinds[i].type == type) {
			return kinds + i;
		}
	}
	return NULL;
}

int pg_multiplies(enum ggml_type type) {
	const struct kind * kind = find(type);
	return kind && ggml_blck_size(type) == PG_BLOCK && ggml_type_size(type) == (size_t) kind->bytes && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
	       __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

// --- the operation ----------------------------------------------------------

// Bytes that a thread needs for so many rows.
static int64_t scratch(int64_t rows) {
	return 64 + DEEP * WIDE * sizeof(struct panel) + (rows < GROUP ? rows : GROUP) * sizeof(struct input);
}

// Threads share the rows of weights.
static void one(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor * a = dst->src[0], * b = dst->src[1];
	const int64_t begin = a->ne[1] * ith / nth, end = a->ne[1] * (ith + 1) / nth;
	find(a->type)->one(end - begin, a->ne[0] / PG_BLOCK, (const uint8_t *) a->data + begin * a->nb[1], a->nb[1], b->data,
	                   (float *) dst->data + begin);
}

// And here in panels.
static void many(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor * a = dst->src[0], * b = dst->src[1];
	const struct kind * kind = find(a->type);
	const int64_t n = a->ne[1], blocks = a->ne[0] / PG_BLOCK, rows = ggml_nrows(b);
	const int64_t threads = (dst->ne[0] - n * rows) * (int64_t) sizeof(float) / scratch(rows);
	nth = nth > threads ? (int) threads : nth;
	if (ith >= nth) {
		return;
	}
	char * space = (char *) dst->data + n * rows * sizeof(float) + ith * scratch(rows);
	struct panel * panel = (struct panel *) (space + (64 - (uintptr_t) space % 64) % 64);
	struct input * input = (struct input *) (panel + DEEP * WIDE);

	const int64_t wide = WIDE * LANES, panels = (n + wide - 1) / wide, begin = panels * ith / nth, end = panels * (ith + 1) / nth;
	const int64_t groups = (rows + GROUP - 1) / GROUP, chunks = (blocks + DEEP - 1) / DEEP;
	for (int64_t g = 0; g < groups; g++) {
		const int64_t from = rows * g / groups, tall = rows * (g + 1) / groups - from;
		for (int64_t c = 0; c < chunks; c++) {
			const int64_t first = blocks * c / chunks, deep = blocks * (c + 1) / chunks - first;
			for (int64_t r = 0; r < tall; r++) {
				copy((const struct pg_q8_K *) b->data + (from + r) * blocks + first, deep, kind->per, input + r);
			}
			for (int64_t p = begin; p < end; p++) {
				const int64_t columns = n - p * wide < wide ? n - p * wide : wide;
				for (int64_t i = 0; i < deep * WIDE; i++) {
					const uint8_t * row[LANES];
					for (int64_t l = 0; l < LANES; l++) { // the last one stands in for those that there are not
						const int64_t j = i % WIDE * LANES + l;
						row[l] = (const uint8_t *) a->data + (p * wide + (j < columns ? j : columns - 1)) * a->nb[1] + (first + i / WIDE) * kind->bytes;
					}
					kind->pack(row, panel + i);
				}
				const uint32_t mask = columns == wide ? UINT32_MAX : (UINT32_C(1) << columns) - 1;
				const char * next = (const char *) a->data + (p + 1 < end ? p + 1 : begin) * wide * a->nb[1];
				next += (p + 1 < end ? first : first + deep) * kind->bytes;
				for (int64_t r = 0; r < tall; r += TALL, next += a->nb[1]) {
					for (int64_t i = 0; i < deep * kind->bytes; i += 64) { // what is unpacked next, a row for each tile
						_mm_prefetch(next + i, _MM_HINT_T1);
					}
					float * y = (float *) dst->data + (from + r) * n + p * wide;
					kind->tile(tall - r < TALL ? tall - r : TALL, panel, input + r, deep, y, n, c > 0, mask);
				}
			}
		}
	}
}

struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b, int threads) {
	struct ggml_tensor * args[] = {a, b};
	const int64_t n = a->ne[1], rows = ggml_nrows(b);
	if (rows == 1) {
		return ggml_custom_4d(ctx, GGML_TYPE_F32, n, 1, 1, 1, args, 2, one, GGML_N_TASKS_MAX, NULL);
	}
	// What the threads need lies behind the result.
	const int64_t more = (threads * scratch(rows) + sizeof(float) - 1) / sizeof(float);
	struct ggml_tensor * both = ggml_custom_4d(ctx, GGML_TYPE_F32, n * rows + more, 1, 1, 1, args, 2, many, GGML_N_TASKS_MAX, NULL);
	return ggml_view_4d(ctx, both, n, b->ne[1], b->ne[2], b->ne[3], n * sizeof(float), n * b->ne[1] * sizeof(float),
	                    n * b->ne[1] * b->ne[2] * sizeof(float), 0);
}

#else

int pg_multiplies(enum ggml_type type) {
	(void) type;
	return 0;
}

struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b, int threads) {
	(void) threads;
	return ggml_mul_mat(ctx, a, b);
}

#endif
