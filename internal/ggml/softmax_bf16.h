// Softmax of a block of queries, whose weights will be rounded to BF16 (attention_bf16.c). For x86 only.
#pragma once

#define LOG2E 1.44269504088896341f

// Returns e^x for x <= 0, NaN for NaN: relative error 2e-6.
INLINE __m512 exponential(__m512 x) {
	const __m512 y = _mm512_mul_ps(x, _mm512_set1_ps(LOG2E));
	const __m512 r = _mm512_reduce_ps(y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); // y − ⌊y⌋
	__m512 p = _mm512_set1_ps(1.353417e-2f);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.201146e-2f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.4144275e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9300384e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0000026f));
	return _mm512_scalef_ps(p, y); // 2^⌊y⌋ times
}

// Returns 2^y for y <= 0, NaN for NaN: relative error 8e-5, less than a twentieth of what rounding to BF16 adds.
INLINE __m512 power(__m512 y) {
	const __m512 r = _mm512_reduce_ps(y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
	__m512 p = _mm512_set1_ps(7.802452e-2f);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.2606717e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9583353e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.9992522e-1f));
	return _mm512_scalef_ps(p, y);
}

// Returns cap·tanh(x/cap) = cap·(1 − e)/(1 + e), e = e^−|2x/cap|, with the sign of x.
INLINE __m512 soften(__m512 x, float cap) {
	const __m512i sign = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MIN));
	const __m512 one = _mm512_set1_ps(1), u = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(-2 / cap));
	const __m512 e = exponential(u);
	const __m512 y = _mm512_div_ps(_mm512_mul_ps(_mm512_set1_ps(cap), _mm512_sub_ps(one, e)), _mm512_add_ps(one, e));
	return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(y), sign));
}

INLINE __m512 add_or_max(const bool max, __m512 a, __m512 b) {
	return max ? _mm512_max_ps(a, b) : _mm512_add_ps(a, b);
}

// Returns the sum, or the largest, of each of BLOCK vectors, side by side.
INLINE __m512 across(const bool max, const __m512 * v) {
	__m512 pair[BLOCK / 2];
	UNROLL
	for (int r = 0; r < BLOCK / 2; r++) {
		const __m512 a = v[2 * r], b = v[2 * r + 1];
		pair[r] = add_or_max(max, _mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
	}
	const __m512d a = _mm512_castps_pd(pair[0]), b = _mm512_castps_pd(pair[1]), c = _mm512_castps_pd(pair[2]);
	const __m512 four =
		add_or_max(max, _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
	const __m512 two =
		add_or_max(max, _mm512_castpd_ps(_mm512_unpacklo_pd(c, c)), _mm512_castpd_ps(_mm512_unpackhi_pd(c, c)));
	__m512 all = add_or_max(max, _mm512_shuffle_f32x4(four, two, 0x88), _mm512_shuffle_f32x4(four, two, 0xdd));
	all = add_or_max(max, all, _mm512_shuffle_f32x4(all, all, 0xb1));
	return _mm512_shuffle_f32x4(all, all, 0x08);
}

// Makes scores of a block of queries with n keys those that softmax takes, up to a whole number of pairs of vectors.
INLINE void complete_scores(float cap, int64_t n, float * score) {
	const __m512 none = _mm512_set1_ps(-INFINITY);
	const int64_t whole = n / LANES * LANES, all = round_up(n, 2 * LANES);
	for (int r = 0; r < BLOCK; r++, score += KEYS) {
		for (int64_t j = 0; cap > 0 && j < n; j += LANES) {
			_mm512_store_ps(score + j, soften(_mm512_load_ps(score + j), cap));
		}
		if (whole < n) {
			_mm512_mask_store_ps(score + whole, (__mmask16) (0xffff << (n - whole)), none);
		}
		if (n <= all - LANES) {
			_mm512_store_ps(score + all - LANES, none);
		}
	}
}

// The largest scores of a block of queries so far and the sums of weights.
struct state {
	float *largest, *total;
};

// Turns the scores of a block of queries into weights, given the state, and returns what earlier weights are to be
// multiplied by.
INLINE __m512 softmax(int64_t vectors, const float * score, uint16_t * weight, const struct state * s) {
	const __mmask16 rows = (1 << BLOCK) - 1;
	__m512 v[BLOCK];
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		v[r] = _mm512_load_ps(score + r * KEYS);
		for (int64_t j = 1; j < vectors; j++) {
			v[r] = _mm512_max_ps(v[r], _mm512_load_ps(score + r * KEYS + j * LANES));
		}
	}
	const __m512 log2e = _mm512_set1_ps(LOG2E), before = _mm512_maskz_loadu_ps(rows, s->largest);
	const __m512 now = _mm512_max_ps(across(true, v), before);
	const __m512 correction = power(_mm512_mul_ps(_mm512_sub_ps(before, now), log2e));
	float shift[LANES] __attribute__((aligned(64)));
	_mm512_store_ps(shift, _mm512_mul_ps(now, log2e));
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		const __m512 most = _mm512_set1_ps(shift[r]);
		__m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
		for (int64_t j = 0; j < vectors; j += 2) {
			__m512 w[2];
			UNROLL
			for (int i = 0; i < 2; i++) {
				const __m512 x = _mm512_load_ps(score + r * KEYS + (j + i) * LANES);
				w[i] = power(_mm512_fmsub_ps(x, log2e, most));
				sum[i] = _mm512_add_ps(sum[i], w[i]);
			}
			_mm512_store_si512(weight + r * KEYS + j * LANES, (__m512i) _mm512_cvtne2ps_pbh(w[1], w[0]));
		}
		v[r] = _mm512_add_ps(sum[0], sum[1]);
	}
	const __m512 total = _mm512_maskz_loadu_ps(rows, s->total);
	_mm512_mask_storeu_ps(s->largest, rows, now);
	_mm512_mask_storeu_ps(s->total, rows, _mm512_fmadd_ps(total, correction, across(false, v)));
	return correction;
}
