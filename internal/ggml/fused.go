package ggml

/*
#include "ggml.h"
#include "ggml-backend.h"

// Rows of cells [d·kv, n] from the first on, as attention takes them: [d, n, kv].
static struct ggml_tensor * pg_heads(struct ggml_context * ctx, struct ggml_tensor * cells, int64_t d, int64_t from, int64_t n) {
	size_t head = d * ggml_type_size(cells->type);
	return ggml_view_3d(ctx, cells, d, n, cells->ne[0] / d, cells->nb[1], head, from * cells->nb[1]);
}
*/
import "C"

import (
	"fmt"

	"paligemma/internal/gguf"
)

// Attention is how the graphs of a model attend to the cells of its sequences.
type Attention int

const (
	// AttentionWritten is products and a softmax, for each sequence by itself; values
	// are kept transposed.
	AttentionWritten Attention = iota
	// AttentionRanges is custom kernels for the CPU: AppendCells and AttendCells.
	AttentionRanges
	// AttentionMasked takes the cells of all sequences together, and a mask that says
	// what each token sees of them: WriteRows, and FusedAttention where Graph.Fuses. Only
	// values of inputs tell one step from the next.
	AttentionMasked
)

// Attention returns that of graphs with such options.
func (b *Backend) Attention(o GraphOptions) Attention {
	switch {
	case b.Plain(o):
		return AttentionMasked
	case o.Exact:
		return AttentionWritten
	}
	return AttentionRanges
}

// Fuses reports whether FusedAttention is there for heads queries of d values and kv keys,
// with a soft-cap or without (0). The devices that have it round to F16 on the way, whatever
// the type of the cells: exact graphs do without.
func (g *Graph) Fuses(d, heads, kv int64, softcap float32) bool {
	b := g.backend
	if !g.options.Plain || g.options.Exact || b.written || !b.caps(d, softcap) {
		return false
	}
	width := b.headWidth(d)
	return b.supports(fmt.Sprint("attention ", width, heads, kv, softcap), func(g *Graph) Tensor {
		cells := g.Scratch(gguf.TypeF16, width*kv, CellUnit)
		k := g.Heads(cells, width, 0, CellUnit)
		return g.fused(g.Scratch(gguf.TypeF32, width, 1, heads), k, k, g.Scratch(gguf.TypeF16, CellUnit, 1), 1, softcap)
	})
}

// caps reports whether attention with a soft-cap can be one operation for heads of d values.
// ggml-cuda says that it has it for all that it has without one, but its kernels (fattn-vec.cuh,
// fattn-mma-f16.cuh, fattn-tile.cuh) end the process for others than these.
func (b *Backend) caps(d int64, softcap float32) bool {
	return softcap == 0 || !b.onCUDA() || d == 128 || d == 256 || d == 512
}

// CellUnit is what the number of cells that FusedAttention takes is best a multiple of: CUDA
// has its fastest kernels for such.
const CellUnit = 256

// LooksUp reports whether a device looks rows of a table up (GetRows), in place of the host.
func (b *Backend) LooksUp(table Tensor) bool {
	return b.supports(fmt.Sprint("rows of ", table), func(g *Graph) Tensor {
		return g.GetRows(g.Scratch(table.Type(), table.Dim(0), table.Dim(1)), g.Scratch(gguf.TypeI32, 16))
	})
}

// supports asks the devices, once, whether all of them have an operation.
func (b *Backend) supports(name string, operation func(*Graph) Tensor) bool {
	if able, known := b.able[name]; known {
		return able
	}
	g := b.NewGraph(GraphOptions{Plain: true})
	defer g.Close()
	b.counts.Built-- // for no computation
	t := operation(g)
	able := g.ok(t)
	for i := 0; able && i < len(b.devices); i++ {
		able = bool(C.ggml_backend_supports_op(b.at(i), t.c))
	}
	if b.able == nil {
		b.able = map[string]bool{}
	}
	b.able[name] = able
	return able
}

// headWidth is the number of values that heads of d values are padded to with zeros: CUDA
// has kernels for tensor cores from SigLIP's 72 on with the next multiple of 16 only.
func (b *Backend) headWidth(d int64) int64 {
	const siglip, padded = 72, 80
	if d == siglip && b.onCUDA() {
		return padded
	}
	return d
}

// WriteRows writes rows x [d, kv, T] to cells [d·kv, n] of a Store, at the places that an
// I64 index [T] names; the caller vouches for them. Devices write what RoPE returns as they
// compute it. The result must be given to Run.
func (g *Graph) WriteRows(x, cells, index Tensor) Tensor {
	if !g.okContiguousRows("write rows", x) || !g.ok(cells, index) {
		return Tensor{}
	}
	row, n := x.Dim(0)*x.Dim(1), x.Dim(2)
	if cells.Dim(0) != row || cells.Dim(2)*cells.Dim(3) != 1 || index.Type() != gguf.TypeI64 || index.Elements() != n || index.Dim(0) != n || x.Dim(3) != 1 {
		return g.fail("write rows: %v to %v at %v", x, cells, index)
	}
	flat := C.ggml_view_2d(g.ctx, x.c, C.int64_t(row), C.int64_t(n), x.c.nb[2], 0)
	return Tensor{C.ggml_set_rows(g.ctx, cells.c, flat, index.c)}
}

// okContiguousRows checks F32 rows of heads that lie side by side.
func (g *Graph) okContiguousRows(op string, x Tensor) bool {
	if !g.okF32(op, x) {
		return false
	}
	if x.stride(1) != x.Dim(0)*x.stride(0) {
		g.fail("%s: the heads of %v lie apart", op, x)
		return false
	}
	return true
}

// Heads are n cells [d·kv, n'] from the first one named on, as attention takes them: [d, n, kv].
func (g *Graph) Heads(cells Tensor, d, from, n int64) Tensor {
	if !g.ok(cells) {
		return Tensor{}
	}
	if d < 1 || cells.Dim(0)%d != 0 || cells.Type().BlockSize() != 1 || from < 0 || n < 1 || from > cells.Dim(1)-n || cells.Dim(2)*cells.Dim(3) != 1 {
		return g.fail("heads: [%d, %d+%d) of %v in heads of %d", from, from, n, cells, d)
	}
	return Tensor{C.pg_heads(g.ctx, cells.c, C.int64_t(d), C.int64_t(from), C.int64_t(n))}
}

// FusedAttention is softmax(cap(scale·Q·Kᵀ) + mask)·V for q [d, T, heads], F32, and k and v
// [d, n, kv], F16: [d, heads, T]. Query head h uses key head h·kv/heads. The mask [n, T],
// F16, holds 0 or −Inf; it may be the zero Tensor. softcap 0 is none. A fourth dimension is
// of images, each by itself. Fuses says where it is there.
func (g *Graph) FusedAttention(q, k, v, mask Tensor, scale, softcap float32) Tensor {
	if !g.okFused(q, k, v, mask) {
		return Tensor{}
	}
	g.cost += 4 * float64(q.Elements()) * float64(k.Dim(1))
	return g.fused(q, k, v, mask, scale, softcap)
}

// fused is FusedAttention of operands that were checked.
func (g *Graph) fused(q, k, v, mask Tensor, scale, softcap float32) Tensor {
	if !g.ok(q, k, v) {
		return Tensor{}
	}
	y := C.ggml_flash_attn_ext(g.ctx, q.c, k.c, v.c, mask.c, C.float(scale), 0, C.float(softcap))
	C.ggml_prec_set_acc(y, precisionF32)
	return Tensor{y}
}

func (g *Graph) okFused(q, k, v, mask Tensor) bool {
	if !g.okF32("attention", q) || !g.ok(k, v) {
		return false
	}
	if q.Dim(0) != k.Dim(0) || k.shape() != v.shape() || q.Dim(2)%k.Dim(2) != 0 || q.Dim(3) != k.Dim(3) ||
		k.Type() != gguf.TypeF16 || v.Type() != gguf.TypeF16 || !k.denseRows() || !v.denseRows() {
		g.fail("attention: %v, %v and %v do not fit", q, k, v)
		return false
	}
	if mask.Valid() && (mask.Type() != gguf.TypeF16 || !mask.contiguous() || mask.shape() != [4]int64{k.Dim(1), q.Dim(1), 1, 1}) {
		g.fail("attention: the mask %v does not fit %v and %v", mask, q, k)
		return false
	}
	return true
}

// FusedHeads is FusedAttention for heads q, k and v [d, heads, T, images] that were just
// computed, F32 and contiguous. All of an image see each other: [d·heads, T·images].
func (g *Graph) FusedHeads(q, k, v Tensor, scale float32) Tensor {
	if !g.okContiguous("attention", q) || !g.okContiguous("attention", k) || !g.okContiguous("attention", v) {
		return Tensor{}
	}
	return g.fusedHeads(g.widen(q), g.half(g.widen(k)), g.half(g.widen(v)), q.Dim(0), scale)
}

// FusedQKV is FusedHeads of one tensor of all: [d, 3·heads, T, images], queries first, then
// keys and values. That takes fewer operations: all are rounded at once, and queries, whose
// rounded values nobody needs, with them, since devices are slower on a part of each row.
func (g *Graph) FusedQKV(qkv Tensor, scale float32) Tensor {
	if !g.okContiguous("attention", qkv) {
		return Tensor{}
	}
	if qkv.Dim(1)%3 != 0 {
		return g.fail("attention: %v are not queries, keys and values", qkv)
	}
	wide, heads := g.widen(qkv), qkv.Dim(1)/3
	rounded := g.half(wide)
	return g.fusedHeads(g.Slice(wide, 1, 0, heads), g.Slice(rounded, 1, heads, heads), g.Slice(rounded, 1, 2*heads, heads), qkv.Dim(0), scale)
}

// fusedHeads is FusedHeads for heads [width, heads, T, images] of d values, and zeros.
func (g *Graph) fusedHeads(q, k, v Tensor, d int64, scale float32) Tensor {
	byHead := [4]int{0, 2, 1, 3} // [width, T, heads]
	y := g.FusedAttention(g.Permute(q, byHead), g.Permute(k, byHead), g.Permute(v, byHead), Tensor{}, scale, 0)
	if d < q.Dim(0) {
		y = g.Slice(y, 0, 0, d)
	}
	return g.Cont(y, d*q.Dim(1), q.Dim(2)*q.Dim(3))
}

// widen appends zeros to heads of F32, where that is better for the devices.
func (g *Graph) widen(x Tensor) Tensor {
	width := g.backend.headWidth(x.Dim(0))
	if !g.ok(x) || x.Dim(0) == width {
		return x
	}
	return Tensor{C.ggml_pad(g.ctx, x.c, C.int(width-x.Dim(0)), 0, 0, 0)}
}

// half rounds to F16.
func (g *Graph) half(x Tensor) Tensor {
	if !g.ok(x) {
		return Tensor{}
	}
	return Tensor{C.ggml_cast(g.ctx, x.c, C.GGML_TYPE_F16)}
}

// Repeat is n times the row of a, F32 or F16.
func (g *Graph) Repeat(a Tensor, n int64) Tensor {
	if !g.ok(a) {
		return Tensor{}
	}
	if a.Elements() != a.Dim(0) || n < 1 || n > maxElements/a.Dim(0) || (a.Type() != gguf.TypeF32 && a.Type() != gguf.TypeF16) {
		return g.fail("repeat: %v %d times", a, n)
	}
	return Tensor{C.ggml_repeat_4d(g.ctx, a.c, C.int64_t(a.Dim(0)), C.int64_t(n), 1, 1)}
}
