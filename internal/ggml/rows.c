#include "rows.h"
#include "kernels.h"
#include "simd.h"

#include "ggml-cpu.h"

// A block of Q8_K, as ggml's quantize_row_q8_K does it, bit for bit: the value that
// is largest without its sign becomes -127. Lanes are compared side by side; loops
// are apart so that no product and sum is rounded once only. Blocks of Q8_0 as
// quantize_row_q8_0 does them, and BF16 rounded to the nearest, a half to even.
#define ROUND 12582912.0f // 1.5·2^23: added to a number it rounds it to a whole one, in the lowest bits
#define PG_FORM(form, attributes)                                                                        \
	attributes static void quantize##form(const float * restrict x, struct pg_q8_K * restrict y) {       \
		float high[16] = {0}, low[16] = {0};                                                             \
		for (int i = 0; i < PG_BLOCK; i += 16) {                                                         \
			for (int j = 0; j < 16; j++) {                                                               \
				high[j] = x[i + j] > high[j] ? x[i + j] : high[j];                                       \
				low[j] = x[i + j] < low[j] ? x[i + j] : low[j];                                          \
			}                                                                                            \
		}                                                                                                \
		for (int half = 8; half > 0; half /= 2) {                                                        \
			for (int j = 0; j < half; j++) {                                                             \
				high[j] = high[j + half] > high[j] ? high[j + half] : high[j];                           \
				low[j] = low[j + half] < low[j] ? low[j + half] : low[j];                                \
			}                                                                                            \
		}                                                                                                \
		const float top = high[0], bottom = low[0];                                                      \
		float most = top > -bottom ? top : bottom;                                                       \
		if (most == 0) {                                                                                 \
			memset(y, 0, sizeof *y);                                                                     \
			return;                                                                                      \
		}                                                                                                \
		if (top == -bottom) {                                                                            \
			int i = 0;                                                                                   \
			while (x[i] != top && x[i] != bottom) {                                                      \
				i++;                                                                                     \
			}                                                                                            \
			most = x[i];                                                                                 \
		}                                                                                                \
		const float scale = -127.0f / most;                                                              \
		union { float f; int32_t i; } v[PG_BLOCK];                                                       \
		for (int i = 0; i < PG_BLOCK; i++) {                                                             \
			v[i].f = scale * x[i];                                                                       \
		}                                                                                                \
		for (int i = 0; i < PG_BLOCK; i++) {                                                             \
			v[i].f += ROUND;                                                                             \
		}                                                                                                \
		for (int i = 0; i < PG_BLOCK; i++) {                                                             \
			y->qs[i] = (int8_t) v[i].i;                                                                  \
		}                                                                                                \
		for (int i = 0; i < PG_BLOCK / 16; i++) {                                                        \
			int sum = 0;                                                                                 \
			for (int j = 0; j < 16; j++) {                                                               \
				sum += y->qs[16 * i + j];                                                                \
			}                                                                                            \
			y->sums[i] = (int16_t) sum;                                                                  \
		}                                                                                                \
		y->d = 1 / scale;                                                                                \
	}                                                                                                    \
	attributes static void blocks##form(int64_t n, const float * restrict x, struct pg_q8_0 * restrict y) { \
		for (; n > 0; n--, x += 32, y++) {                                                               \
			float lane[16];                                                                              \
			for (int j = 0; j < 16; j++) {                                                               \
				const float a = x[j] < 0 ? -x[j] : x[j], b = x[16 + j] < 0 ? -x[16 + j] : x[16 + j];     \
				lane[j] = a > b ? a : b;                                                                 \
			}                                                                                            \
			for (int half = 8; half > 0; half /= 2) {                                                    \
				for (int j = 0; j < half; j++) {                                                         \
					lane[j] = lane[j + half] > lane[j] ? lane[j + half] : lane[j];                       \
				}                                                                                        \
			}                                                                                            \
			const float scale = lane[0] != 0 ? 127.0f / lane[0] : 0;                                     \
			union { float f; int32_t i; } v[32];                                                         \
			for (int i = 0; i < 32; i++) {                                                               \
				v[i].f = scale * x[i];                                                                   \
			}                                                                                            \
			for (int i = 0; i < 32; i++) {                                                               \
				v[i].f += ROUND;                                                                         \
			}                                                                                            \
			for (int i = 0; i < 32; i++) {                                                               \
				y->qs[i] = (int8_t) v[i].i;                                                              \
			}                                                                                            \
			y->d = ggml_fp32_to_fp16(lane[0] / 127.0f);                                                  \
		}                                                                                                \
	}                                                                                                    \
	attributes static void round##form(int64_t n, const float * restrict x, uint16_t * restrict y) {     \
		for (int64_t i = 0; i < n; i++) {                                                                \
			union { float f; uint32_t i; } v = {x[i]};                                                   \
			const bool nan = (v.i & 0x7fffffff) > 0x7f800000;                                            \
			y[i] = (uint16_t) (nan ? v.i >> 16 | 64 : (v.i + (0x7fff + (v.i >> 16 & 1))) >> 16);         \
		}                                                                                                \
	}
PG_FORMS(PG_FORM)

void pg_quantize(enum ggml_type type, const float * x, int64_t count, void * row, int64_t from) {
	if (type == GGML_TYPE_Q8_K) {
		PG_RUN(quantize, x, (struct pg_q8_K *) row + from / PG_BLOCK);
	} else if (type == GGML_TYPE_Q8_0) {
		PG_RUN(blocks, count / 32, x, (struct pg_q8_0 *) row + from / 32);
	} else {
		PG_RUN(round, count, x, (uint16_t *) row + from);
	}
}

int pg_quantizes(enum ggml_type type) {
	const struct ggml_type_traits_cpu * traits = ggml_get_type_traits_cpu(type);
	const size_t bytes = type == GGML_TYPE_Q8_K   ? sizeof(struct pg_q8_K)
	                     : type == GGML_TYPE_Q8_0 ? PG_BLOCK / 32 * sizeof(struct pg_q8_0)
	                                              : PG_BLOCK * sizeof(uint16_t);
	float x[PG_BLOCK];
	char want[PG_BLOCK * sizeof(float)] __attribute__((aligned(64))), got[sizeof want] __attribute__((aligned(64)));
	if (ggml_row_size(type, PG_BLOCK) != bytes || !traits->from_float) {
		return 0;
	}
	for (int i = 0; i < PG_BLOCK; i++) {
		x[i] = (float) ((i * 37 + 11) % 251) / 125 - 1;
	}
	traits->from_float(x, want, PG_BLOCK);
	pg_quantize(type, x, PG_BLOCK, got, 0);
	return memcmp(want, got, bytes) == 0;
}

int pg_rows_type(enum ggml_type type) {
	return ggml_get_type_traits_cpu(type)->vec_dot_type;
}
