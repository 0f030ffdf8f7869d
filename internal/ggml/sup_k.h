// Products of few rows with q4_K and q6_K (matmul_q8_k.c). For x86 only.
#pragma once

// Few rows meet weights in the registers in which they are unpacked, MR(1) at most at once: writing a panel costs more
// than they gain by reading it. (In BLIS, such products, small and unpacked, are called sup.)

// 32 bytes of each of LANES rows of weights, and of q6_K as many with the high bits of their values.
struct columns {
	__m512i v[8], high[8];
};

// Returns four values of each row: those in the low or the high halves of bytes, with bits of high from shift.
INLINE __m512i values_of(const enum ggml_type type, const struct columns * from, int c, const int half,
						 const int shift) {
	const __m512i low = bits(from->v[c], 4 * half, 15, 0);
	return type == GGML_TYPE_Q6_K ? _mm512_or_si512(low, bits(from->high[c], shift + 4 * half, 3, 4)) : low;
}

// Where values begin in a block: 32 in the low halves of bytes, and apart from them those in the high ones.
struct place {
	int first, apart, shift; // of the high bits
};

// total [rows] += scale · values · x over the halves of bytes numbered from half: both, which keeps the processor
// busiest, where registers suffice.
INLINE void multiply_halves(const struct traits t, const int rows, const struct columns * from, const int half,
							const int halves, const struct place at, const struct heads * h, const struct input * x,
							__m512i * total) {
	UNROLL
	for (int g = 0; g < 32 / t.per; g++) {
		__m512i part[2 * MR(1)];
		UNROLL
		for (int u = 0; u < halves * rows; u++) {
			part[u] = _mm512_setzero_si512();
		}
		UNROLL
		for (int c = g * t.per / 4; c < (g + 1) * t.per / 4; c++) {
			__m512i q[2];
			UNROLL
			for (int i = 0; i < halves; i++) {
				q[i] = values_of(t.type, from, c, half + i, at.shift);
			}
			UNROLL
			for (int u = 0; u < halves * rows; u++) {
				const int8_t * four = x[u % rows].q + at.first + (half + u / rows) * at.apart + 4 * c;
				part[u] = dot4(part[u], q[u / rows], four);
			}
		}
		UNROLL
		for (int u = 0; u < halves * rows; u++) {
			const int scale = (at.first + (half + u / rows) * at.apart) / 16 + g;
			part[u] = _mm512_mullo_epi32(part[u], _mm512_load_si512(h->scale[scale]));
		}
		UNROLL
		for (int r = 0; r < rows; r++) {
			const __m512i sum = halves == 2 ? _mm512_add_epi32(part[r], part[rows + r]) : part[r];
			total[r] = _mm512_add_epi32(total[r], sum);
		}
	}
}

// total [rows] = x · the values of a block of each of LANES rows of weights.
INLINE void multiply_q4_K(const struct traits t, const int rows, const uint8_t * const * weights, size_t at,
						  const struct heads * h, const struct input * x, struct ahead next, __m512i * total) {
	struct columns from;
	for (int z = 0; z < 4; z++) {
		prefetch_part(next, 1, z, 4);
		load_columns(weights, at + 16 + 32 * z, from.v);
		const struct place place = {.first = 64 * z, .apart = 32};
		multiply_halves(t, rows, &from, 0, 2, place, h, x, total);
	}
}

INLINE void multiply_q6_K(const struct traits t, const int rows, const uint8_t * const * weights, size_t at,
						  const struct heads * h, const struct input * x, struct ahead next, __m512i * total) {
	struct columns from;
	for (int z = 0; z < 2; z++) {
		load_columns(weights, at + 128 + 32 * z, from.high);
		UNROLL
		for (int s = 0; s < 2; s++) { // 32 values, and 64 after them
			prefetch_part(next, 1, 2 * z + s, 4);
			load_columns(weights, at + 64 * z + 32 * s, from.v);
			const struct place place = {.first = 128 * z + 32 * s, .apart = 64, .shift = 2 * s};
			multiply_halves(t, rows, &from, 0, 1, place, h, x, total);
			multiply_halves(t, rows, &from, 1, 1, place, h, x, total);
		}
	}
}

// sums [rows] += x · a block of each of LANES rows of weights.
INLINE void multiply_unpacked(const struct traits t, const int rows, const uint8_t * const * weights, size_t at,
							  const struct heads * h, const struct input * x, struct ahead next, __m512 * sums) {
	__m512i total[MR(1)];
	UNROLL
	for (int r = 0; r < rows; r++) {
		total[r] = _mm512_setzero_si512();
	}
	(t.type == GGML_TYPE_Q6_K ? multiply_q6_K : multiply_q4_K)(t, rows, weights, at, h, x, next, total);
	UNROLL
	for (int r = 0; r < rows; r++) {
		sums[r] = add_block(t.per, h, x + r, total[r], sums[r]);
	}
}

// Calls multiply_unpacked with a number of rows that is constant, so that they stay in registers.
INLINE void multiply_some(const struct traits t, int64_t rows, const uint8_t * const * weights, size_t at,
						  const struct heads * h, const struct input * x, struct ahead next, __m512 * sums) {
	switch (rows) {
	case 3:
		multiply_unpacked(t, 3, weights, at, h, x, next, sums);
		break;
	case 4:
		multiply_unpacked(t, 4, weights, at, h, x, next, sums);
		break;
	case 5:
		multiply_unpacked(t, 5, weights, at, h, x, next, sums);
		break;
	case 6:
		multiply_unpacked(t, 6, weights, at, h, x, next, sums);
		break;
	case 7:
		multiply_unpacked(t, 7, weights, at, h, x, next, sums);
		break;
	default:
		multiply_unpacked(t, 8, weights, at, h, x, next, sums);
	}
}

// Multiplies up to LANES rows of weights with more than FEW rows, SUP at most.
INLINE void multiply_sup(const struct traits t, const struct strip * s) {
	const uint8_t * weights[LANES];
	find_weights(s, LANES, weights);
	const __mmask16 columns = (__mmask16) ((1 << s->columns) - 1);
	__m512 sums[NARROW];
	for (int64_t r = 0; r < s->rows; r++) {
		sums[r] = s->add ? _mm512_maskz_loadu_ps(columns, s->y + r * s->ldy) : _mm512_setzero_ps();
	}
	const int64_t blocks = s->k / QK_K, parts = (s->rows + MR(1) - 1) / MR(1);
	const struct input * x = s->x;
	for (int64_t i = 0; i < blocks; i++, x += s->rows) {
		struct ahead next = next_weights(s, LANES, blocks * t.bytes, i * t.bytes, t.bytes);
		next.bytes /= parts;
		struct heads h;
		(t.type == GGML_TYPE_Q6_K ? pack_heads_6 : pack_heads_4)(weights, i * t.bytes, &h);
		for (int64_t k = 0; k < parts; k++, next.at += next.bytes) {
			const int64_t from = s->rows * k / parts, rows = s->rows * (k + 1) / parts - from;
			multiply_some(t, rows, weights, i * t.bytes, &h, x + from, next, sums + from);
		}
	}
	for (int64_t r = 0; r < s->rows; r++) {
		_mm512_mask_storeu_ps(s->y + r * s->ldy, columns, sums[r]);
	}
}
