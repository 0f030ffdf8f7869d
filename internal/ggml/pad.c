#include "kernels.h"

#include <string.h>

void pg_pad_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor * src = dst->src[0];
	const size_t row = src->ne[0] * sizeof(float), padded = dst->ne[0] * sizeof(float);
	const int64_t rows = src->ne[1] * src->ne[2] * src->ne[3];
	for (int64_t i = rows * ith / nth; i < rows * (ith + 1) / nth; i++) {
		const int64_t i1 = i % src->ne[1], i2 = i / src->ne[1] % src->ne[2], i3 = i / (src->ne[1] * src->ne[2]);
		char * to = (char *) dst->data + i * padded;
		memcpy(to, (const char *) src->data + i1 * src->nb[1] + i2 * src->nb[2] + i3 * src->nb[3], row);
		memset(to + row, 0, padded - row);
	}
}
