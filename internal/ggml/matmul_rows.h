// A function MULTIPLY for one or two vectors of weights, which calls MULTIPLY_ROWS with a number of rows, MR(NV) at
// most, that is constant, so that they stay in registers.
#ifndef NV

#define NV 1
#include "matmul_rows.h"
#undef NV
#define NV 2
#include "matmul_rows.h"
#undef NV

INLINE void MULTIPLY(const struct traits t, const int nv, int rows, int64_t n, const struct panel * p,
					 const struct input * x, float * sums, struct ahead next) {
	(void) t;
	(nv == 1 ? ISA_JOIN(MULTIPLY, 1) : ISA_JOIN(MULTIPLY, 2))(rows, n, p, x, sums, next);
}
#undef MULTIPLY
#undef MULTIPLY_ROWS

#else

NOINLINE void ISA_JOIN(MULTIPLY, NV)(int rows, int64_t n, const struct panel * p, const struct input * x, float * sums,
									 struct ahead next) {
	(void) n;
	switch (rows) {
	case 1:
		MULTIPLY_ROWS(1);
		break;
	case 2:
		MULTIPLY_ROWS(2);
		break;
	case 3:
		MULTIPLY_ROWS(3);
		break;
	case 4:
		MULTIPLY_ROWS(4);
		break;
	case 5:
		MULTIPLY_ROWS(5);
		break;
	case 6:
		MULTIPLY_ROWS(6);
		break;
#if NV == 1
	case 7:
		MULTIPLY_ROWS(7);
		break;
	default:
		MULTIPLY_ROWS(8);
#endif
	}
}

#endif
