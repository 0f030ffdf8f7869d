// A type of weights, from the functions for all types of a file: included once for each type, with TYPE, its name,
// BYTES of a block and MORE that is constant for it, if anything; up to SUP rows, where it has that, go through
// multiply_sup. What a file's types have in common: X_TYPE, the type of the rows that they multiply, VALUES of a block,
// and FEW (matmul_type).
#define NAME(name) ISA_JOIN(name, TYPE)
#ifndef MORE
#define MORE
#endif
#define TRAITS ISA_JOIN(GGML_TYPE, TYPE), VALUES, BYTES, MORE

static void NAME(copy)(const void * x, int64_t n, void * to) {
	const struct traits t = {TRAITS};
	copy(t, x, n, to);
}

static void NAME(dots)(const struct strip * s) {
	const struct traits t = {TRAITS};
	const int64_t step = s->columns / STREAMS;
	for (int64_t i = 0; i < step; i++) {
		dots(t, s, i, step, STREAMS);
	}
	if (s->columns % STREAMS > 0) {
		dots(t, s, step * STREAMS, 1, (int) (s->columns % STREAMS));
	}
	complete(s);
}

INLINE void NAME(many)(const struct strip * s, const int nv) {
	const struct traits t = {TRAITS};
	float sums[MC * NR(2)] __attribute__((aligned(64)));
	struct panel p[2];
	const uint8_t * row[NR(2)];
	find_weights(s, NR(nv), row);
	struct factors update[UPDATE_PARTS];
	const int updates = find_factors(s, update);
	const int64_t parts = (s->rows + MR(nv) - 1) / MR(nv), width = s->k / t.values * t.bytes;
	const struct input * x = s->x;
	for (int64_t i = 0; i < s->k; i += STEP, x += s->rows) {
		const int64_t n = s->k - i < STEP ? s->k - i : STEP, bytes = n / t.values * t.bytes;
		const size_t at = i / t.values * t.bytes;
		for (int w = 0; w < nv; w++) {
			pack(t, row + w * LANES, at, n, p + w);
		}
		struct ahead next = {(const char *) s->a, 0};
		if (nv == 1) {
			next = next_weights(s, NR(nv), width, (int64_t) at, bytes);
			next.bytes /= parts;
		}
		for (int64_t k = 0; k < parts; k++, next.at += next.bytes) {
			const int64_t from = s->rows * k / parts, to = s->rows * (k + 1) / parts;
			if (nv == 2) {
				prefetch_rows(s, NR(nv), at, bytes, k, parts);
			}
			if (i == 0) {
				load_results(s, nv, from, to, sums);
			}
			multiply(t, nv, (int) (to - from), n, p, x + from, sums + from * NR(nv), next);
			if (i + STEP >= s->k && updates > 0) {
				store_updated(s, update, updates, nv, MR(nv), from, to, sums);
			} else if (i + STEP >= s->k) {
				store_results(s, nv, from, to, sums);
			}
		}
	}
}

static void NAME(narrow)(const struct strip * s) {
#ifdef SUP
	if (s->rows <= SUP) {
		const struct traits t = {TRAITS};
		multiply_sup(t, s);
		complete(s);
		return;
	}
#endif
	NAME(many)(s, 1);
}

static void NAME(wide)(const struct strip * s) {
	NAME(many)(s, 2);
}

static const struct matmul_type NAME(type) = {
	.type = ISA_JOIN(GGML_TYPE, TYPE),
	.x_type = X_TYPE,
	.values = VALUES,
	.bytes = BYTES,
	.input = sizeof(struct input),
	.few = FEW,
	.copy = NAME(copy),
	.dots = NAME(dots),
	.narrow = NAME(narrow),
	.wide = NAME(wide),
};

#undef NAME
#undef TRAITS
#undef TYPE
#undef BYTES
#undef MORE
#undef SUP
