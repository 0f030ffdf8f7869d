#include "rows.h"
#include "kernels.h"
#include "simd.h"

#include "ggml-cpu.h"

// One block, as ggml's quantize_row_q8_K does it, bit for bit: the value that is
// largest without its sign becomes -127. Lanes are compared side by side; loops
// are apart so that no product and sum is rounded once only.
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
			v[i].f += 12582912.0f; /* 1.5·2^23: rounds to a whole number, in the lowest bits */          \
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
	}
PG_FORMS(PG_FORM)

void pg_quantize_q8_K(const float * x, struct pg_q8_K * y) {
	PG_RUN(quantize, x, y);
}

int pg_q8_K_is_known(void) {
	const struct ggml_type_traits_cpu * traits = ggml_get_type_traits_cpu(GGML_TYPE_Q8_K);
	float x[PG_BLOCK];
	struct pg_q8_K want, got;
	if (ggml_blck_size(GGML_TYPE_Q8_K) != PG_BLOCK || ggml_type_size(GGML_TYPE_Q8_K) != sizeof want || !traits->from_float) {
		return 0;
	}
	for (int i = 0; i < PG_BLOCK; i++) {
		x[i] = (float) ((i * 37 + 11) % 251) / 125 - 1;
	}
	traits->from_float(x, &want, PG_BLOCK);
	pg_quantize_q8_K(x, &got);
	return memcmp(&want, &got, sizeof want) == 0;
}

int pg_takes_q8_K(enum ggml_type type) {
	return ggml_get_type_traits_cpu(type)->vec_dot_type == GGML_TYPE_Q8_K;
}
