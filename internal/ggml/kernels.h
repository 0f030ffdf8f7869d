// Kernels of our own for the CPU, each a ggml_custom_op_t.
#pragma once

#include "ggml.h"

// pg_gelu is GELU of src[0]; times src[1], of the same shape, if there is one.
// All are contiguous F32.
void pg_gelu(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_gelu_bias is GELU of src[0] + src[1], the same for each row, in rows that
// may be longer; what is left of those is cleared.
void pg_gelu_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_add_bias is src[0] + (src[1] + src[2]), the last the same for each row.
void pg_add_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata);

// pg_layer_norm records (x − mean)/sqrt(variance + eps)·w + b for each row of x,
// followed by zeros until it is padded long.
struct ggml_tensor * pg_layer_norm(struct ggml_context * ctx, struct ggml_tensor * x, struct ggml_tensor * w, struct ggml_tensor * b,
                                   float eps, int64_t padded);

// pg_pad_rows copies the rows of src[0], F32 and dense, to longer rows and
// clears what is left of those.
void pg_pad_rows(struct ggml_tensor * dst, int ith, int nth, void * userdata);
