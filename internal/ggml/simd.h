// Small pieces of vector code that products share; included where instructions are chosen (ISA_BEGIN).
#pragma once

// Returns vector w of a row of a tile's result so far, or zeros.
INLINE __m512 load_result(bool add, const float * y, int w, uint32_t mask) {
	return add ? _mm512_maskz_loadu_ps((__mmask16) (mask >> LANES * w), y + LANES * w) : _mm512_setzero_ps();
}

// Stores vector w of a row of a tile's result.
INLINE void store_result(float * y, int w, uint32_t mask, __m512 v) {
	_mm512_mask_storeu_ps(y + LANES * w, (__mmask16) (mask >> LANES * w), v);
}

// Returns four bytes, over and over.
INLINE __m512i load4(const int8_t * p) {
	int32_t four;
	memcpy(&four, p, sizeof four);
	return _mm512_set1_epi32(four);
}

// Returns a number in half precision.
INLINE float load_half(const uint8_t * p) {
	uint16_t h;
	memcpy(&h, p, sizeof h);
	return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

// Returns ggml's kvalues_iq4nl, 128 added.
INLINE __m128i codebook(void) {
	return _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, (char) 129, (char) 141, (char) 153, (char) 166, (char) 181,
						 (char) 197, (char) 217, (char) 241);
}

// Transposes 16 × 16 numbers of 32 bits.
INLINE void transpose16x16(__m512i * v) {
	__m512i t[16];
	for (int i = 0; i < 16; i += 4) { // within each four rows and four columns
		const __m512i a = _mm512_unpacklo_epi32(v[i], v[i + 1]), b = _mm512_unpackhi_epi32(v[i], v[i + 1]);
		const __m512i c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]), d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
		t[i] = _mm512_unpacklo_epi64(a, c);
		t[i + 1] = _mm512_unpackhi_epi64(a, c);
		t[i + 2] = _mm512_unpacklo_epi64(b, d);
		t[i + 3] = _mm512_unpackhi_epi64(b, d);
	}
	for (int i = 0; i < 4; i++) { // and these fours
		const __m512i a = _mm512_shuffle_i32x4(t[i], t[4 + i], 0x88), b = _mm512_shuffle_i32x4(t[i], t[4 + i], 0xdd);
		const __m512i c = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0x88);
		const __m512i d = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0xdd);
		v[i] = _mm512_shuffle_i32x4(a, c, 0x88);
		v[4 + i] = _mm512_shuffle_i32x4(b, d, 0x88);
		v[8 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
		v[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
	}
}
