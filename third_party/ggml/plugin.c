// The entry point of a plug-in, and which ggml it belongs to.
#include "ggml-backend.h"

// The SHA-256 of ggml's sources. A program that was made of others does not load the
// file: it reads this section before.
__attribute__((used, section(".paligemma"))) static const char tree[] = TREE;

#if defined(PLUGIN_cuda)
#include "ggml-cuda.h"
ggml_backend_reg_t ggml_backend_init(void) { return ggml_backend_cuda_reg(); }
#elif defined(PLUGIN_vulkan)
#include "ggml-vulkan.h"
ggml_backend_reg_t ggml_backend_init(void) { return ggml_backend_vk_reg(); }
#endif
