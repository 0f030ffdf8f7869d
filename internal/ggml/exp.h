// Part of a file of loops (isa.h): the exponential function for each instruction set.

// Returns e^x for |x| <= 88, to 2 units in the last place: 2^n·e^r with |r| <= ln(2)/2, e^r by its Taylor
// polynomial of degree 7 (its rest is below 2^-27).
INLINE float FN(exp)(float x) {
	const float shifted = x * 1.44269504088896341f + 12582912.0f; // 1.5·2^23: rounds to a whole number
	const float n = shifted - 12582912.0f;
	const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
	float p = 1.98412698e-4f;
	p = p * r + 1.38888889e-3f;
	p = p * r + 8.33333333e-3f;
	p = p * r + 4.16666667e-2f;
	p = p * r + 1.66666667e-1f;
	p = p * r + 0.5f;
	p = p * r + 1.0f;
	p = p * r + 1.0f;
	union {
		float f;
		uint32_t u;
	} scale;
	scale.u = (uint32_t) ((int32_t) n + 127) << 23;
	return p * scale.f;
}

// Returns x within ±88, where FN(exp) holds; NaN stays NaN.
INLINE float FN(clamp88)(float x) {
	x = x > 88.0f ? 88.0f : x;
	return x < -88.0f ? -88.0f : x;
}
