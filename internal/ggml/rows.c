#ifndef ISA
#include "rows.h"
#include "custom.h"
#include "kernels.h"
#include "team.h"
#include "update.h"

#include "ggml-cpu.h"

#include <string.h>

// Blocks are quantized bit for bit as by ggml's quantize_row_q8_K and quantize_row_q8_0. Numbers are
// compared by their bits, which compilers do many at once. No product and sum may be rounded once only: clang keeps to
// that where they are of two statements.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#endif

#define GROUP 8         // rows that are multiplied with factors together
#define RUN 4096        // values of each of them
#define PLAIN_PART 1024 // values of an F32 row that are dealt out at once

#define ROUND 12582912.0f   // 1.5·2^23: added to a number it rounds it to a whole one, in the lowest bits
#define INFINITE 0x7f800000 // the bits of infinity: as whole numbers, those of positive numbers are in their order

union number {
	float f;
	int32_t i;
	uint32_t u;
};

static int64_t within(int64_t n, int64_t most) {
	return n < 0 ? 0 : least(n, most);
}

#define KERNEL "rows.c"
#include "foreach_isa.h"

void pg_quantize(enum ggml_type type, const float * x, int64_t count, void * row, int64_t from) {
	if (type == GGML_TYPE_Q8_K) {
		DISPATCH(quantize_q8_K)(x, (struct block_q8_K *) row + from / QK_K);
	} else if (type == GGML_TYPE_Q8_0) {
		DISPATCH(quantize_q8_0)(count / QK_0, x, (struct block_q8_0 *) row + from / QK_0);
	} else {
		DISPATCH(round_bf16)(count, x, (uint16_t *) row + from);
	}
}

// Returns the values of a row from the one numbered from on, step of them, count of which are not padding: in place, or
// in memory for step values.
static const float * values_of(const struct row_writer * w, const struct row * r, int64_t from, int64_t count,
							   int64_t step, float * memory) {
	if (!w->fill && count == step) {
		return r->x + from;
	}
	if (w->fill && count > 0) {
		w->fill(memory, from, count, r);
	} else if (count > 0) {
		memcpy(memory, r->x + from, count * sizeof(float));
	}
	memset(memory + count, 0, (step - count) * sizeof(float));
	return memory;
}

// Writes values [from, to) of a row whose first n are not padding.
static void write_row(const struct row_writer * w, const struct row * r, struct ggml_tensor * dst, int64_t i,
					  int64_t from, int64_t to, int64_t n) {
	char * out = (char *) dst->data + i * dst->nb[1];
	float block[QK_K];
	const bool plain = dst->type == GGML_TYPE_F32;
	for (int64_t step; from < to; from += step) {
		step = plain ? to - from : least(to - from, QK_K);
		float * y = plain ? (float *) out + from : block;
		const float * x = values_of(w, r, from, within(n - from, step), step, y);
		if (!plain) {
			pg_quantize(dst->type, x, step, out, from);
		} else if (x != y) {
			memcpy(y, x, step * sizeof(float));
		}
	}
}

// Writes values [from, to) of some rows after it has multiplied them. The rows are read in long runs: memory is read
// ahead for each anew after other memory, that of the factors, was read.
static void write_projected(const struct row_writer * w, const struct row * r, int64_t rows, struct ggml_tensor * dst,
							int64_t i, int64_t from, int64_t to, int64_t n, const struct projection * p) {
	float values[GROUP][RUN] __attribute__((aligned(CACHE_LINE)));
	const int64_t step = to - from, count = within(n - from, step);
	for (int64_t k = 0; k < rows; k++) {
		const float * x = values_of(w, r + k, from, count, step, values[k]);
		if (x != values[k]) {
			memcpy(values[k], x, step * sizeof(float));
		}
	}
	for (int64_t at = 0; at < step; at += PROJECTED) {
		pg_project_block(p, i, rows, from + at, within(count - at, PROJECTED), values[0] + at, RUN);
	}
	for (int64_t k = 0; k < rows; k++) {
		for (int64_t at = 0; at < step; at += QK_K) {
			char * out = (char *) dst->data + (i + k) * dst->nb[1];
			pg_quantize(dst->type, values[k] + at, least(step - at, QK_K), out, from + at);
		}
	}
}

// Returns how many values of a row are dealt out at once.
static int64_t part_of(const struct ggml_tensor * dst, const struct row_writer * w, bool projected) {
	if (projected) {
		return dst->src[0]->ne[1] > 1 ? RUN : PROJECTED;
	}
	if (!w->split) {
		return dst->ne[0];
	}
	return dst->type == GGML_TYPE_F32 ? PLAIN_PART : QK_K;
}

void pg_write_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata, const struct row_writer * w) {
	const struct projection p = pg_projection_of(dst);
	const int64_t n = dst->src[0]->ne[0], all = ggml_nrows(dst->src[0]), group = p.a ? GROUP : 1;
	const int64_t part = part_of(dst, w, p.a), parts = (dst->ne[0] + part - 1) / part;
	for (struct parts items = pg_parts((all + group - 1) / group * parts, ith, nth); pg_next(&items);) {
		for (int64_t item = items.from; item < items.to; item++) {
			const int64_t first = item / parts * group, rows = least(group, all - first);
			const int64_t from = item % parts * part, to = least(from + part, dst->ne[0]);
			struct row r[GROUP];
			for (int64_t k = 0; k < rows; k++) {
				r[k] = w->row(dst, first + k, userdata);
			}
			if (p.a) {
				write_projected(w, r, rows, dst, first, from, to, n, &p);
			} else {
				write_row(w, r, dst, first, from, to, n);
			}
		}
	}
}

int64_t pg_rows_work(const struct ggml_tensor * dst) {
	const struct projection p = pg_projection_of(dst);
	return ggml_nrows(dst->src[0]) * dst->ne[0] * (p.a ? p.a->ne[1] : 1);
}

int pg_quantizes(enum ggml_type type) {
	const struct ggml_type_traits_cpu * traits = ggml_get_type_traits_cpu(type);
	const size_t bytes = type == GGML_TYPE_Q8_K   ? sizeof(struct block_q8_K)
						 : type == GGML_TYPE_Q8_0 ? QK_K / QK_0 * sizeof(struct block_q8_0)
												  : QK_K * sizeof(uint16_t);
	float x[QK_K];
	char want[QK_K * sizeof(float)] __attribute__((aligned(64))), got[sizeof want] __attribute__((aligned(64)));
	if (ggml_row_size(type, QK_K) != bytes || !traits->from_float) {
		return 0;
	}
	for (int i = 0; i < QK_K; i++) {
		x[i] = (float) ((i * 37 + 11) % 251) / 125 - 1;
	}
	traits->from_float(x, want, QK_K);
	pg_quantize(type, x, QK_K, got, 0);
	return memcmp(want, got, bytes) == 0;
}

int pg_rows_type(enum ggml_type type) {
	return ggml_get_type_traits_cpu(type)->vec_dot_type;
}

// --- for each instruction set -----------------------------------------------

#else

// Writes n numbers times scale, rounded.
INLINE void FN(round_scaled)(int n, const float * restrict x, float scale, int8_t * restrict q) {
	for (int i = 0; i < n; i++) {
		const float product = scale * x[i];
		const union number v = {product + ROUND};
		q[i] = (int8_t) v.i;
	}
}

// Returns the value that is largest without its sign, the first of them: it becomes -127. NaN counts for nothing.
INLINE float FN(extreme)(const float * restrict x) {
	union number high = {0}, low = {0};
	for (int i = 0; i < QK_K; i++) {
		const union number v = {x[i]};
		const int32_t some = v.i & -((v.i & INT32_MAX) <= INFINITE), negative = some ^ INT32_MIN;
		high.i = some > high.i ? some : high.i;
		low.i = negative > low.i ? negative : low.i;
	}
	if (high.i != low.i || high.i == 0) {
		return high.i > low.i ? high.f : -low.f;
	}
	int i = 0;
	while (x[i] != high.f && x[i] != -low.f) {
		i++;
	}
	return x[i];
}

// Sums up each 16 bytes, eight at once: pairs, then pairs of these.
INLINE void FN(sum_bytes)(const int8_t * restrict q, int16_t * restrict sums) {
	const uint64_t pairs = 0x00ff00ff00ff00ff;
	uint64_t eight[QK_K / 8];
	memcpy(eight, q, sizeof eight);
	for (int i = 0; i < QK_K / 8; i++) {
		const uint64_t v = eight[i] ^ 0x8080808080808080; // 128 more each
		const uint64_t two = (v & pairs) + (v >> 8 & pairs), four = two + (two >> 32);
		eight[i] = four + (four >> 16);
	}
	for (int i = 0; i < QK_K / 16; i++) {
		sums[i] = (int16_t) ((eight[2 * i] & 0xffff) + (eight[2 * i + 1] & 0xffff) - 16 * 128);
	}
}

static void FN(quantize_q8_K)(const float * restrict x, struct block_q8_K * restrict y) {
	const float most = FN(extreme)(x);
	if (most == 0) {
		memset(y, 0, sizeof *y);
		return;
	}
	const float scale = -127.0f / most;
	FN(round_scaled)(QK_K, x, scale, y->qs);
	FN(sum_bytes)(y->qs, y->sums);
	y->d = 1 / scale;
}

static void FN(quantize_q8_0)(int64_t n, const float * restrict x, struct block_q8_0 * restrict y) {
	for (; n > 0; n--, x += QK_0, y++) {
		union number most = {0}; // NaN if there is one
		for (int i = 0; i < QK_0; i++) {
			const union number v = {x[i]};
			const int32_t size = v.i & INT32_MAX;
			most.i = size > most.i ? size : most.i;
		}
		FN(round_scaled)(QK_0, x, most.f != 0 ? 127.0f / most.f : 0, y->qs);
		y->d = ggml_fp32_to_fp16(most.f / 127.0f);
	}
}

// Rounds to the nearest, a half to even.
static void FN(round_bf16)(int64_t n, const float * restrict x, uint16_t * restrict y) {
	for (int64_t i = 0; i < n; i++) {
		const union number v = {x[i]};
		const bool nan = (v.u & 0x7fffffff) > 0x7f800000;
		y[i] = (uint16_t) (nan ? v.u >> 16 | 64 : (v.u + (0x7fff + (v.u >> 16 & 1))) >> 16);
	}
}

#endif
