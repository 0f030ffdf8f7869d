// The functions of a type of weights, from those for all types of a file: included once for each type, with TYPE,
// its name, and TRAITS, what is constant for it.
#define NAME(name) ISA_JOIN(name, TYPE)

static void NAME(gemv)(int64_t rows, int64_t blocks, const uint8_t * a, size_t stride, const void * x, float * y) {
	const struct traits t = {TRAITS};
	const int64_t step = rows / STREAMS;
	for (int64_t r = 0; r < step; r++) {
		dots(t, STREAMS, blocks, a + r * stride, step * stride, x, y + r, step);
	}
	for (int64_t r = step * STREAMS; r < rows; r++) {
		dots(t, 1, blocks, a + r * stride, 0, x, y + r, 0);
	}
}

static void NAME(pack)(const uint8_t * const * rows, int64_t blocks, void * panel) {
	const struct traits t = {TRAITS};
	pack(t, rows, blocks, panel);
}

static void NAME(copy)(const void * x, int64_t blocks, void * input) {
	const struct traits t = {TRAITS};
	copy(t, x, blocks, input);
}

static void NAME(tile)(int64_t rows, const void * p, const void * in, int64_t blocks, float * y, int64_t ldy, bool add,
					   uint32_t mask) {
	const struct traits t = {TRAITS};
	const struct input * x = in;
	if (rows == MR) {
		tile(t, MR, p, x, blocks, y, ldy, add, mask);
		return;
	}
	for (; rows >= 2; rows -= 2, x += 2, y += 2 * ldy) {
		tile(t, 2, p, x, blocks, y, ldy, add, mask);
	}
	if (rows > 0) {
		tile(t, 1, p, x, blocks, y, ldy, add, mask);
	}
}

#undef NAME
#undef TYPE
#undef TRAITS
