package model

import "paligemma/internal/ggml"

// Queries are taken in groups whose scores [keys, queries, heads] stay below
// scoreBytes: 4,096 patches and 16 heads would need 1 GB at once. There are
// maxGroups at most, since each makes the graph longer.
const (
	scoreBytes = 128 << 20
	maxGroups  = 16
)

// attention is softmax(mask + cap(scale·Q·Kᵀ))·V for each head.
type attention struct {
	scale   float32
	softcap float32     // 0: none
	sliding bool        // through the window
	mask    ggml.Tensor // [n, T], or the zero Tensor: all keys are visible
}

// apply attends with q [d, heads, T] to k [d, n, kv_heads] and v [n, d,
// kv_heads]: [d·heads, T]. Query head h uses key head h·kv_heads/heads. The
// weights [n, T, heads] are returned too if whole is set. A fourth dimension is of
// images, each by itself.
func (a attention) apply(g *ggml.Graph, q, k, v ggml.Tensor, whole bool) (out, weights ggml.Tensor) {
	tokens := q.Dim(2)
	group := tokens
	if !whole {
		group = min(tokens, groupOf(tokens, 4*q.Dim(1)*k.Dim(1)*q.Dim(3)))
	}
	return a.inGroups(g, q, k, v, group)
}

// groupOf is how many of the queries are taken at a time, each of which has scores of some
// bytes.
func groupOf(queries, bytes int64) int64 {
	return max(32, scoreBytes/bytes, (queries+maxGroups-1)/maxGroups)
}

// inGroups is apply to some queries at a time. The weights are the last ones'.
func (a attention) inGroups(g *ggml.Graph, q, k, v ggml.Tensor, group int64) (out, weights ggml.Tensor) {
	d, heads, tokens, images := q.Dim(0), q.Dim(1), q.Dim(2), q.Dim(3)
	q = g.Permute(q, [4]int{0, 2, 1, 3}) // [d, T, heads]
	for from := int64(0); from < tokens; from += group {
		n := min(group, tokens-from)
		part := a
		if a.mask.Valid() {
			part.mask = g.Slice(a.mask, 1, from, n)
		}
		var y ggml.Tensor
		y, weights = part.heads(g, g.Slice(q, 1, from, n), k, v)
		y = g.Cont(y, d*heads, n, images)
		if from == 0 {
			out = y
		} else {
			out = g.Concat(out, y, 1)
		}
	}
	return out, weights
}

// heads attends with q [d, T, heads]: [d, heads, T], of which the heads lie apart.
func (a attention) heads(g *ggml.Graph, q, k, v ggml.Tensor) (out, weights ggml.Tensor) {
	weights = a.weights(g, q, k)
	return g.Permute(g.MulMat(v, weights), [4]int{0, 2, 1, 3}), weights
}

// flash is apply for queries that all see all keys, tile by tile: q [d, heads,
// T], k [d, n, kv_heads], v [d, n, kv_heads], and biases of the three or none.
func (a attention) flash(g *ggml.Graph, q, k, v ggml.Tensor, bias ...ggml.Tensor) ggml.Tensor {
	d, heads, tokens := q.Dim(0), q.Dim(1), q.Dim(2)
	q = g.Permute(q, [4]int{0, 2, 1, 3}) // [d, T, heads]
	return g.Reshape(g.FlashAttention(q, k, v, a.scale, a.softcap, bias...), d*heads, tokens)
}

// fused is apply by one operation of the device, where it has it: v lies as k does.
func (a attention) fused(g *ggml.Graph, q, k, v ggml.Tensor) ggml.Tensor {
	d, heads, tokens := q.Dim(0), q.Dim(1), q.Dim(2)
	if !g.Fuses(d, heads, k.Dim(2), a.softcap) {
		out, _ := a.apply(g, q, k, g.Cont(g.Transpose(v)), false)
		return out
	}
	q = g.Permute(q, [4]int{0, 2, 1, 3}) // [d, T, heads]
	return g.Reshape(g.FusedAttention(q, k, v, a.mask, a.scale, a.softcap), d*heads, tokens)
}

// weights is softmax(mask + cap(scale·Q·Kᵀ)): [keys, queries, heads].
func (a attention) weights(g *ggml.Graph, q, k ggml.Tensor) ggml.Tensor {
	scores := g.MulMat(k, q)
	if a.softcap == 0 {
		return g.SoftMax(scores, a.mask, a.scale)
	}
	return g.SoftMax(g.SoftCap(g.Scale(scores, a.scale), a.softcap), a.mask, 1)
}
