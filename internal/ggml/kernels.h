// Kernels of our own for the CPU, each a ggml_custom_op_t.
#pragma once

#include "ggml.h"

// pg_gelu is GELU of src[0]; times src[1], of the same shape, if there is one.
// All are contiguous F32.
void pg_gelu(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_pad_rows copies the rows of src[0], F32 and dense, to longer rows and
// clears what is left of those.
void pg_pad_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata);
