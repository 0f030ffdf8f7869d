#include "cells.h"
#include "custom.h"
#include "isa.h"
#include "kernels.h"
#include "team.h"

#include <float.h>
#include <math.h>
#include <string.h>
#ifdef ISA_DISPATCH
#include <immintrin.h>
#endif

// Attention to the cells of sequences: few queries, each of which sees a range of its sequence's cells. These are
// taken CHUNK at a time, counted from the sequence's first, and the results of chunks are put together in their
// order. So a token's result has the same bits whoever shares the operation with it, however many threads compute it
// and wherever the cells lie.
#define CHUNK 64
#define MOST 64  // query heads of a part that share a key head, up to which its chunks are dealt out to threads
#define ROWS 8   // query heads at once
#define SLACK 16 // scores of a row that are written beyond the last one

#define KERNEL "cells_loops.h"
#include "foreach_isa.h"

// What is known of an operation, and the scratch of its thread.
struct work {
	const struct cell_parts * all;
	const struct ggml_tensor * q;
	float * out;    // [d, heads, tokens]
	float * shared; // results of chunks that are put together later
	int64_t d, wide, heads, kv, group;

	float *query, *score;    // [ROWS, wide], [ROWS, CHUNK + SLACK]
	float *chunk, *sum;      // results
	uint16_t *keys, *values; // [CHUNK, wide]: cells with zeros at their end, if d is not a multiple of LINE
};

// The result of some chunks for up to ROWS heads: the largest score, the sum of weights, and [rows, wide] sums of
// values.
struct result {
	float *largest, *total, *sum;
};

static struct result result_at(float * space) {
	return (struct result) {space, space + ROWS, space + LINE};
}

// Returns the floats of a result.
static int64_t result_size(const struct work * w) {
	return LINE + ROWS * w->wide;
}

// Returns how many blocks of heads share a key head.
static int64_t blocks(const struct work * w) {
	return (w->group + ROWS - 1) / ROWS;
}

static int64_t scratch_bytes(const struct work * w) {
	const int64_t cells = w->d % LINE > 0 ? CHUNK * w->wide : 0;
	return (ROWS * (w->wide + CHUNK + SLACK) + 2 * result_size(w) + cells) * (int64_t) sizeof(float);
}

static void place_scratch(struct work * w, float * space) {
	w->query = space;
	w->score = w->query + ROWS * w->wide;
	w->chunk = w->score + ROWS * (CHUNK + SLACK);
	w->sum = w->chunk + result_size(w);
	w->keys = (uint16_t *) (w->sum + result_size(w));
	w->values = w->keys + CHUNK * w->wide;
}

static struct work work_of(const struct ggml_tensor * q, const struct cell_parts * all) {
	return (struct work) {.all = all,
						  .q = q,
						  .d = q->ne[0],
						  .wide = round_up(q->ne[0], LINE),
						  .heads = q->ne[1],
						  .kv = all->kv_heads,
						  .group = q->ne[1] / all->kv_heads};
}

// The chunks that a part sees.
static struct cell_range chunks_of(const struct cell_part * p) {
	struct cell_range r = p->seen[0];
	for (int64_t i = 1; i < p->tokens; i++) {
		r.from = p->seen[i].from < r.from ? p->seen[i].from : r.from;
		r.to = p->seen[i].to > r.to ? p->seen[i].to : r.to;
	}
	return (struct cell_range) {r.from / CHUNK, (r.to + CHUNK - 1) / CHUNK};
}

// Reports whether a part's chunks are dealt out; else its tokens are.
static bool by_chunks(const struct work * w, const struct cell_part * p) {
	return p->tokens * w->group <= MOST;
}

// Returns the results of a part that threads share.
static int64_t shared_results(const struct work * w, const struct cell_part * p) {
	const struct cell_range c = chunks_of(p);
	return by_chunks(w, p) ? (c.to - c.from) * w->kv * p->tokens * blocks(w) : 0;
}

// --- one token --------------------------------------------------------------

// Cells of a head, one after the other.
struct rows {
	const uint16_t * at;
	int64_t stride;
};

// Returns n cells of a head from keys or values, padded if they have to be.
static struct rows rows_of(const struct work * w, const uint16_t * cells, int64_t head, int64_t n, uint16_t * padded) {
	const struct rows r = {cells + head * w->d, w->kv * w->d};
	if (w->d == w->wide) {
		return r;
	}
	for (int64_t j = 0; j < n; j++) {
		memcpy(padded + j * w->wide, r.at + j * r.stride, w->d * sizeof *padded);
		memset(padded + j * w->wide + w->d, 0, (w->wide - w->d) * sizeof *padded);
	}
	return (struct rows) {padded, w->wide};
}

// Brings the query of a token's heads into scratch.
static void load_query(const struct work * w, int64_t token, int64_t head, int rows, int padded) {
	for (int r = 0; r < padded; r++) {
		float * to = w->query + r * w->wide;
		memset(to, 0, w->wide * sizeof *to);
		if (r < rows) {
			const char * x = (const char *) w->q->data + (head + r) * w->q->nb[1] + token * w->q->nb[2];
			DISPATCH(scale)(w->d, to, (const float *) x, w->all->scale);
		}
	}
}

// Attention of the heads in scratch to cells [from, to) of a part, at most CHUNK.
static void attend_chunk(const struct work * w, const struct cell_part * p, int64_t head, int rows, int64_t from,
						 int64_t to, struct result y) {
	const int64_t first = p->runs[0].n;
	const int64_t split = from > first ? from : to < first ? to : first; // cells before it are of the first run
	const int64_t n[2] = {split - from, to - split};
	const int64_t at[2] = {from, split - first};
	for (int i = 0; i < 2; i++) {
		if (n[i] > 0) {
			const struct rows k = rows_of(w, p->runs[i].keys + at[i] * w->kv * w->d, head, n[i], w->keys);
			const uint16_t * values = p->runs[i].values + (at[i] * w->kv + head) * w->d;
			DISPATCH(scores)(rows, w->wide, w->query, n[i], k.at, k.stride, w->score + (i > 0 ? n[0] : 0), values,
							 w->kv * w->d);
		}
	}
	for (int r = 0; r < rows; r++) {
		float correction;
		y.largest[r] = -FLT_MAX;
		y.total[r] = 0;
		DISPATCH(softmax)(to - from, w->score + r * (CHUNK + SLACK), w->all->cap, y.largest + r, y.total + r,
						  &correction);
	}
	for (int i = 0; i < 2; i++) {
		if (n[i] > 0) {
			const struct rows v = rows_of(w, p->runs[i].values + at[i] * w->kv * w->d, head, n[i], w->values);
			const float * weights = w->score + (i > 0 ? n[0] : 0);
			DISPATCH(sum_values)(rows, w->wide, weights, n[i], v.at, v.stride, y.sum, i > 0 && n[0] > 0);
		}
	}
}

// Adds a chunk's result to that of those before it.
static void merge(const struct work * w, int rows, struct result sum, struct result chunk) {
	for (int r = 0; r < rows; r++) {
		const float most = fmaxf(sum.largest[r], chunk.largest[r]);
		const float before = expf(sum.largest[r] - most), now = expf(chunk.largest[r] - most);
		sum.total[r] = sum.total[r] * before + chunk.total[r] * now;
		sum.largest[r] = most;
		DISPATCH(merge)(w->wide, sum.sum + r * w->wide, chunk.sum + r * w->wide, before, now);
	}
}

static void begin(const struct work * w, int rows, struct result sum) {
	for (int r = 0; r < rows; r++) {
		sum.largest[r] = -FLT_MAX;
		sum.total[r] = 0;
	}
	memset(sum.sum, 0, rows * w->wide * sizeof(float));
}

static void finish(const struct work * w, int64_t token, int64_t head, int rows, struct result sum) {
	for (int r = 0; r < rows; r++) {
		const float factor = sum.largest[r] > -FLT_MAX ? 1 / sum.total[r] : NAN;
		DISPATCH(scale)(w->d, w->out + (token * w->heads + head + r) * w->d, sum.sum + r * w->wide, factor);
	}
}

// Returns 1, 2, 4 or 8, the numbers of rows that kernels take.
static int padded_rows(int rows) {
	return rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : ROWS;
}

// The cells of a chunk that a token sees.
static struct cell_range seen_of(const struct cell_part * p, int64_t token, int64_t chunk) {
	struct cell_range r = p->seen[token];
	r.from = r.from > chunk * CHUNK ? r.from : (int32_t) (chunk * CHUNK);
	r.to = r.to < (chunk + 1) * CHUNK ? r.to : (int32_t) ((chunk + 1) * CHUNK);
	return r;
}

// --- parts ------------------------------------------------------------------

// A block of heads of a part's token.
struct block {
	int64_t token, kv_head, head;
	int rows;
};

static struct block block_of(const struct work * w, int64_t token, int64_t kv_head, int64_t i) {
	struct block b = {.token = token, .kv_head = kv_head, .head = kv_head * w->group + i * ROWS};
	b.rows = (int) least(w->group - i * ROWS, ROWS);
	return b;
}

static struct result shared_at(const struct work * w, const struct cell_part * p, int64_t chunk, int64_t kv_head,
							   int64_t token, int64_t block) {
	const int64_t i = ((chunk * w->kv + kv_head) * p->tokens + token) * blocks(w) + block;
	return result_at(w->shared + i * result_size(w));
}

// Puts a part's chunks together.
static void gather(const struct work * w, const struct cell_part * p, int64_t kv_head) {
	const struct cell_range chunks = chunks_of(p);
	for (int64_t i = 0; i < p->tokens * blocks(w); i++) {
		const struct block b = block_of(w, i / blocks(w), kv_head, i % blocks(w));
		const struct result sum = result_at(w->sum);
		begin(w, b.rows, sum);
		for (int64_t c = chunks.from; c < chunks.to; c++) {
			const struct cell_range seen = seen_of(p, b.token, c);
			if (seen.from < seen.to) {
				merge(w, b.rows, sum, shared_at(w, p, c - chunks.from, kv_head, b.token, i % blocks(w)));
			}
		}
		finish(w, p->first + b.token, b.head, b.rows, sum);
	}
}

// One chunk for all of a part's tokens. Who computes the last one puts them together.
static void do_chunk(const struct work * w, int64_t part, int64_t kv_head, int64_t i) {
	const struct cell_part * p = w->all->parts + part;
	const struct cell_range chunks = chunks_of(p);
	for (int64_t j = 0; j < p->tokens * blocks(w); j++) {
		const struct block b = block_of(w, j / blocks(w), kv_head, j % blocks(w));
		const struct cell_range seen = seen_of(p, b.token, chunks.from + i);
		if (seen.from < seen.to) {
			const int padded = padded_rows(b.rows);
			load_query(w, p->first + b.token, b.head, b.rows, padded);
			const struct result y = shared_at(w, p, i, kv_head, b.token, j % blocks(w));
			attend_chunk(w, p, kv_head, padded, seen.from, seen.to, y);
		}
	}
	int32_t * arrived = w->all->arrived + part * w->kv + kv_head;
	if (__atomic_add_fetch(arrived, 1, __ATOMIC_ACQ_REL) == chunks.to - chunks.from) {
		*arrived = 0;
		gather(w, p, kv_head);
	}
}

// All chunks for one token.
static void do_token(const struct work * w, int64_t part, int64_t kv_head, int64_t token) {
	const struct cell_part * p = w->all->parts + part;
	const struct result sum = result_at(w->sum), chunk = result_at(w->chunk);
	for (int64_t i = 0; i < blocks(w); i++) {
		const struct block b = block_of(w, token, kv_head, i);
		const int padded = padded_rows(b.rows);
		load_query(w, p->first + token, b.head, b.rows, padded);
		begin(w, b.rows, sum);
		for (int64_t c = p->seen[token].from / CHUNK; c * CHUNK < p->seen[token].to; c++) {
			const struct cell_range seen = seen_of(p, token, c);
			attend_chunk(w, p, kv_head, padded, seen.from, seen.to, chunk);
			merge(w, b.rows, sum, chunk);
		}
		finish(w, p->first + token, b.head, b.rows, sum);
	}
}

// What a part is dealt out in: items that cost about the same.
struct items {
	bool chunks;
	int64_t n, cost; // of a key head; cells times tokens
};

static struct items items_of(const struct work * w, const struct cell_part * p) {
	const struct cell_range chunks = chunks_of(p);
	if (by_chunks(w, p)) {
		return (struct items) {true, chunks.to - chunks.from, CHUNK * p->tokens};
	}
	return (struct items) {false, p->tokens, CHUNK * (chunks.to - chunks.from)};
}

// Computes the items that begin in [begin, end) of the cost of all.
static void attend_items(struct work w, const struct cell_parts * all, int64_t begin, int64_t end) {
	int64_t at = 0;
	for (int64_t i = 0; i < all->n; i++) {
		const struct items items = items_of(&w, all->parts + i);
		for (int64_t j = 0; j < items.n * w.kv; j++, at += items.cost) {
			if (at >= begin && at < end) {
				(items.chunks ? do_chunk : do_token)(&w, i, j / items.n, j % items.n);
			}
		}
		w.shared += shared_results(&w, all->parts + i) * result_size(&w);
	}
}

static void attend(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	const struct cell_parts * all = userdata;
	struct work w = work_of(dst->src[0], all);
	int64_t results = 0, cost = 0;
	for (int64_t i = 0; i < all->n; i++) {
		const struct items items = items_of(&w, all->parts + i);
		results += shared_results(&w, all->parts + i);
		cost += items.n * items.cost * w.kv;
	}
	if (pg_together(attend, dst, userdata, cost * w.d)) {
		return;
	}
	const int64_t values = w.d * w.heads * w.q->ne[2], shared = round_up(values, LINE);
	float * space = pg_scratch(dst, shared + results * result_size(&w), scratch_bytes(&w), ith, &nth);
	if (!space) {
		return;
	}
	place_scratch(&w, space);
	w.out = dst->data;
	w.shared = w.out + shared;
	const int64_t lots = 4 * nth;
	for (struct parts p = pg_parts(lots, ith, nth); pg_next(&p);) {
		attend_items(w, all, cost * p.from / lots, cost * p.to / lots);
	}
}

struct ggml_tensor * pg_attend(struct ggml_context * ctx, struct ggml_tensor * q, struct cell_parts * parts,
							   int threads) {
	const struct work w = work_of(q, parts);
	const int64_t values = w.d * w.heads * q->ne[2], size = sizeof(float);
	int64_t results = 0;
	for (int64_t i = 0; i < parts->n; i++) {
		results += shared_results(&w, parts->parts + i);
	}
	const int64_t ne[4] = {round_up(values, LINE) + results * result_size(&w), 1, 1, 1};
	struct ggml_tensor * all = pg_custom_with_scratch(ctx, ne, &q, 1, attend, parts, threads, scratch_bytes(&w));
	return ggml_view_3d(ctx, all, w.d, w.heads, q->ne[2], w.d * size, w.d * w.heads * size, 0);
}
