#include "kernels.h"
#include "rows.h"

void pg_pad_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor * src = dst->src[0];
	const int64_t rows = src->ne[1] * src->ne[2] * src->ne[3];
	for (int64_t i = rows * ith / nth; i < rows * (ith + 1) / nth; i++) {
		const int64_t i1 = i % src->ne[1], i2 = i / src->ne[1] % src->ne[2], i3 = i / (src->ne[1] * src->ne[2]);
		const float * x = (const float *) ((const char *) src->data + i1 * src->nb[1] + i2 * src->nb[2] + i3 * src->nb[3]);
		PG_ROW(dst, i, src->ne[0], y, from, count, memcpy(y, x + from, count * sizeof(float)));
	}
}
