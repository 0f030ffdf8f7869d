// The entry point of a plug-in, and which ggml it belongs to.
#include "ggml-backend.h"

// The SHA-256 of ggml's sources. A program that was made of others does not load the
// file: it reads this section before.
__attribute__((used, section(".paligemma"))) static const char tree[] = TREE;

#if defined(PLUGIN_cuda)
#include <stdlib.h>
#include <string.h>

#include <cublas_v2.h>

#include "ggml-cuda.h"
ggml_backend_reg_t ggml_backend_init(void) { return ggml_backend_cuda_reg(); }

// ggml has cuBLAS multiply F32 in TF32, of which 10 bits of the fraction are left. The
// linker directs its calls here (--wrap): F32 is F32, as in transformers, unless the user
// asks for TF32.
cublasStatus_t __real_cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode);

cublasStatus_t __wrap_cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
	const char * tf32 = getenv("PALIGEMMA_TF32");
	if (mode == CUBLAS_TF32_TENSOR_OP_MATH && !(tf32 && strcmp(tf32, "1") == 0)) {
		mode = CUBLAS_DEFAULT_MATH;
	}
	return __real_cublasSetMathMode(handle, mode);
}
#elif defined(PLUGIN_vulkan)
#include "ggml-vulkan.h"
ggml_backend_reg_t ggml_backend_init(void) { return ggml_backend_vk_reg(); }
#endif
