package ggml

/*
#include "ggml.h"
*/
import "C"

import "paligemma/internal/gguf"

// TF32Variable is the variable by which a user asks for TF32, with 1: the plug-in for CUDA
// reads it.
const TF32Variable = "PALIGEMMA_TF32"

// transformers multiplies F32 in F32, as PyTorch comes. The plug-in keeps cuBLAS from TF32, of
// which 10 bits of the fraction are left (third_party/ggml/plugin.c). Tiles of ggml-cuda
// multiply tileLeast to tileMost rows in TF32 (mmf.cu: ggml_cuda_should_use_mmf), if the
// weights have F32 in rows and columns of multiples of tileUnit. Fewer rows are multiplied as
// vectors (mmvf.cu), more by cuBLAS.
const (
	tileLeast, tileMost = 4, 16
	tileUnit            = 32
)

// tiled reports whether CUDA would multiply a with the rows of b in tiles of TF32.
func (g *Graph) tiled(a, b Tensor) bool {
	rows := b.Dim(1)
	return g.backend.onCUDA() && a.Type() == gguf.TypeF32 && a.Dim(0)%tileUnit == 0 && a.Dim(1)%tileUnit == 0 &&
		rows >= tileLeast && rows <= tileMost
}

// mulPadded is the product of F32 with rows of b that are padded with zeros until they are
// too many for tiles, of which no result is left.
func (g *Graph) mulPadded(a, b Tensor) Tensor {
	rows := b.Dim(1)
	padded := C.ggml_pad(g.ctx, b.c, 0, C.int(tileMost+1-rows), 0, 0)
	y := g.Slice(Tensor{C.ggml_mul_mat(g.ctx, a.c, padded)}, 1, 0, rows)
	if !g.ok(y) || y.contiguous() {
		return y
	}
	return g.Cont(y)
}
