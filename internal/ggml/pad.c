#include "kernels.h"
#include "rows.h"
#include "team.h"

static struct row row_of(const struct ggml_tensor * dst, int64_t i, void * userdata) {
	(void) userdata;
	const struct ggml_tensor * src = dst->src[0];
	const int64_t i1 = i % src->ne[1], i2 = i / src->ne[1] % src->ne[2], i3 = i / (src->ne[1] * src->ne[2]);
	const char * x = (const char *) src->data + i1 * src->nb[1] + i2 * src->nb[2] + i3 * src->nb[3];
	return (struct row) {.x = (const float *) x};
}

void pg_pad_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	static const struct row_writer writer = {row_of, NULL, false};
	if (!pg_together(pg_pad_rows, dst, userdata, pg_rows_work(dst))) {
		pg_write_rows(dst, ith, nth, userdata, &writer);
	}
}
