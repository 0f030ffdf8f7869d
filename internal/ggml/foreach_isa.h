// Includes KERNEL for each instruction set (isa.h). ISA_FLOATS is how many floats a vector should have.
#include "isa.h"

#ifdef ISA_DISPATCH
#define ISA avx512
#define ISA_FLOATS 16
#define ISA_SET ISA_AVX512
#include "isa_begin.h"
#include KERNEL
#include "isa_end.h"
#undef ISA
#undef ISA_FLOATS

#define ISA avx2
#define ISA_FLOATS 8
#define ISA_SET ISA_AVX2
#include "isa_begin.h"
#include KERNEL
#include "isa_end.h"
#undef ISA
#undef ISA_FLOATS
#endif

#define ISA plain
#define ISA_FLOATS 8
#include KERNEL
#undef ISA
#undef ISA_FLOATS
#undef KERNEL
