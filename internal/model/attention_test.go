package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"paligemma/internal/ggml"
)

// TestAttentionInGroups attends with some queries at a time, through a mask that is another for
// each, as with all at once.
func TestAttentionInGroups(t *testing.T) {
	const d, heads, tokens, keys = 4, 2, 7, 5
	b, err := ggml.NewBackend(ggml.Options{Device: "cpu", Threads: 1, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	random := rand.New(rand.NewPCG(1, 2))
	values := func(n int) (x []float32) {
		for range n {
			x = append(x, float32(random.NormFloat64()))
		}
		return x
	}
	q, k, v, mask := values(d*tokens*heads), values(d*keys*heads), values(d*keys*heads), make([]float32, keys*tokens)
	for i := range mask {
		if i%keys > 0 && random.IntN(3) == 0 {
			mask[i] = float32(math.Inf(-1))
		}
	}
	attend := func(group int64) []float32 {
		g := b.NewGraph(ggml.GraphOptions{Exact: true})
		defer g.Close()
		a := attention{scale: 0.5, mask: g.Float32s(mask, keys, tokens)}
		out, _ := a.inGroups(g, g.Float32s(q, d, heads, tokens), g.Float32s(k, d, keys, heads), g.Float32s(v, keys, d, heads), group)
		g.Output(out)
		if err := g.Compute(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := g.Read(out)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := attend(tokens)
	for _, group := range []int64{1, 2, 3, 6} {
		if got := attend(group); !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 }) {
			t.Errorf("%d at a time: %v, want %v", group, got, want)
		}
	}
}

// TestGroupOf bounds the memory of scores, and the number of groups.
func TestGroupOf(t *testing.T) {
	for _, c := range []struct{ queries, bytes, want int64 }{
		{256, 4 * 16 * 256, 8192},  // a picture of 224 pixels
		{4096, 4 * 16 * 4096, 512}, // of 896
		{16384, 4 * 16 * 16384, 1024},
		{16385, 4 * 16 * 16385, 1025},
		{40, 1 << 30, 32},
	} {
		if got := groupOf(c.queries, c.bytes); got != c.want {
			t.Errorf("%d queries of %d bytes: %d at a time, want %d", c.queries, c.bytes, got, c.want)
		}
	}
}
