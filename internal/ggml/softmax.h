// Part of a file of loops (isa.h): softmax over scores that come in parts, for each instruction set.
#include "exp.h"

// Returns the largest of n numbers and most.
INLINE float FN(largest)(int64_t n, const float * x, float most) {
	float lane[LINE];
	for (int j = 0; j < LINE; j++) {
		lane[j] = most;
	}
	int64_t i = 0;
	for (; i + LINE <= n; i += LINE) {
		for (int j = 0; j < LINE; j++) {
			lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
		}
	}
	for (; i < n; i++) {
		most = x[i] > most ? x[i] : most;
	}
	for (int half = LINE / 2; half > 0; half /= 2) {
		for (int j = 0; j < half; j++) {
			lane[j] = lane[j + half] > lane[j] ? lane[j + half] : lane[j];
		}
	}
	return lane[0] > most ? lane[0] : most;
}

// Returns the sum of n numbers.
INLINE float FN(sum)(int64_t n, const float * x) {
	float lane[LINE] = {0}, all = 0;
	int64_t i = 0;
	for (; i + LINE <= n; i += LINE) {
		for (int j = 0; j < LINE; j++) {
			lane[j] += x[i + j];
		}
	}
	for (; i < n; i++) {
		all += x[i];
	}
	for (int half = LINE / 2; half > 0; half /= 2) {
		for (int j = 0; j < half; j++) {
			lane[j] += lane[j + half];
		}
	}
	return all + lane[0];
}

// Turns n scores into weights, given the largest so far; correction is what earlier weights are to be multiplied
// by, and sum is that of all weights.
static void FN(softmax)(int64_t n, float * x, float cap, float * largest, float * sum, float * correction) {
	if (cap > 0) {
		for (int64_t i = 0; i < n; i++) {
			x[i] = cap - 2 * cap / (FN(exp)(FN(clamp88)(x[i] * (2 / cap))) + 1); // cap·tanh(x/cap)
		}
	}
	const float most = FN(largest)(n, x, *largest);
	for (int64_t i = 0; i < n; i++) {
		const float u = x[i] - most;
		x[i] = FN(exp)(u < -88.0f ? -88.0f : u);
	}
	const float all = FN(sum)(n, x);
	*correction = expf(*largest - most);
	*sum = *sum * *correction + all;
	*largest = most;
}

static void FN(scale)(int64_t n, float * restrict y, const float * restrict x, float s) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = x[i] * s;
	}
}
