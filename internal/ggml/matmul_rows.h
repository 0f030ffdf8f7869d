// A function MULTIPLY that calls MULTIPLY_ROWS with a number of rows, MR(NV) at most, that is constant, so that they
// stay in registers.
NOINLINE void MULTIPLY(int rows, int64_t n, const struct panel * p, const struct input * x, float * sums,
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
#undef MULTIPLY
#undef MULTIPLY_ROWS
#undef NV
