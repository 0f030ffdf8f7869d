#include "kernels.h"
#include "rows.h"
#include "team.h"
#include "update.h"

#include <string.h>

static void fill_copy(float * y, int64_t from, int64_t count, const void * args) {
	memcpy(y, (const float *) args + from, count * sizeof(float));
}

void pg_pad_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	if (pg_together(pg_pad_rows, dst, userdata, ggml_nelements(dst))) {
		return;
	}
	const struct ggml_tensor * src = dst->src[0];
	const int64_t rows = src->ne[1] * src->ne[2] * src->ne[3];
	const bool copied = dst->type == GGML_TYPE_F32 || pg_projection_of(dst).a; // what is quantized only need not be
	for (struct parts p = pg_parts(rows, ith, nth); pg_next(&p);) {
		for (int64_t i = p.from; i < p.to; i++) {
			const int64_t i1 = i % src->ne[1], i2 = i / src->ne[1] % src->ne[2], i3 = i / (src->ne[1] * src->ne[2]);
			const char * x = (const char *) src->data + i1 * src->nb[1] + i2 * src->nb[2] + i3 * src->nb[3];
			int64_t from = 0;
			for (; !copied && from + QK_K <= src->ne[0]; from += QK_K) {
				pg_quantize(dst->type, (const float *) x + from, QK_K, (char *) dst->data + i * dst->nb[1], from);
			}
			pg_write_row(dst, i, from, dst->ne[0], src->ne[0], fill_copy, x);
		}
	}
}
