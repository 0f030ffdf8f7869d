#include "custom.h"

// Bytes that a thread occupies: its own, and what aligning them may skip.
static int64_t stride(int64_t bytes) {
	return (bytes + 2 * CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

struct ggml_tensor * pg_custom_with_scratch(struct ggml_context * ctx, const int64_t ne[4], struct ggml_tensor ** args,
											int n_args, ggml_custom_op_t op, void * userdata, int threads,
											int64_t bytes) {
	const int64_t size = sizeof(float), values = ne[0] * ne[1] * ne[2] * ne[3], more = threads * stride(bytes) / size;
	struct ggml_tensor * all =
		ggml_custom_4d(ctx, GGML_TYPE_F32, values + more, 1, 1, 1, args, n_args, op, GGML_N_TASKS_MAX, userdata);
	return ggml_view_4d(ctx, all, ne[0], ne[1], ne[2], ne[3], ne[0] * size, ne[0] * ne[1] * size,
						ne[0] * ne[1] * ne[2] * size, 0);
}

void * pg_scratch(const struct ggml_tensor * dst, int64_t values, int64_t bytes, int ith, int * nth) {
	const int64_t threads = (dst->ne[0] - values) * (int64_t) sizeof(float) / stride(bytes);
	if (*nth > threads) {
		*nth = (int) threads;
	}
	if (ith >= *nth) {
		return NULL;
	}
	char * space = (char *) dst->data + values * (int64_t) sizeof(float) + ith * stride(bytes);
	return space + (CACHE_LINE - (uintptr_t) space % CACHE_LINE) % CACHE_LINE;
}
