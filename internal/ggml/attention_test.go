package ggml

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// heads are queries, keys and values of a test, head after head, each [d, n].
type heads struct {
	d, tokens, keys, heads, kv int64
	scale, softcap             float32
	q, k, v                    []float32
}

func newHeads(d, tokens, keys, n, kv int64, softcap float32) heads {
	h := heads{d: d, tokens: tokens, keys: keys, heads: n, kv: kv, scale: 0.1, softcap: softcap}
	h.q, h.k, h.v = random(int(d*tokens*n), 1), random(int(d*keys*kv), 2), random(int(d*keys*kv), 3)
	return h
}

// attend is the attention of query i of a head to the keys [lo, hi), written out in
// float64.
func (h heads) attend(head, i, lo, hi int64) []float64 {
	from := head * h.kv / h.heads * h.keys * h.d
	query := h.q[(head*h.tokens+i)*h.d:][:h.d]
	scores, most := []float64{}, math.Inf(-1)
	for j := lo; j < hi; j++ {
		dot := 0.0
		for x, value := range query {
			dot += float64(value) * float64(h.k[from+j*h.d+int64(x)])
		}
		if dot *= float64(h.scale); h.softcap != 0 {
			dot = float64(h.softcap) * math.Tanh(dot/float64(h.softcap))
		}
		scores, most = append(scores, dot), max(most, dot)
	}
	sum, out := 0.0, make([]float64, h.d)
	for j, score := range scores {
		weight := math.Exp(score - most)
		sum += weight
		for x := range out {
			out[x] += weight * float64(h.v[from+(lo+int64(j))*h.d+int64(x)])
		}
	}
	for x := range out {
		out[x] /= sum
	}
	return out
}

// flash computes all of it in tiles: [d, heads, tokens].
func (h heads) flash(t *testing.T, b *Backend, o GraphOptions) []float32 {
	t.Helper()
	got, err := computeWith(t, b, o, func(g *Graph) Tensor {
		return g.FlashAttention(g.Float32s(h.q, h.d, h.tokens, h.heads), g.Float32s(h.k, h.d, h.keys, h.kv), g.Float32s(h.v, h.d, h.keys, h.kv), h.scale, h.softcap)
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// roundBF16 rounds values to the nearest in BF16.
func roundBF16(values []float32) {
	for i, v := range values {
		bits := math.Float32bits(v)
		values[i] = math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
	}
}

// TestFlashAttention compares tiles with attention written out, at sizes below
// and above a tile, with shared key heads and widths that are not multiples of 16. A
// graph that is not exact may round weights to BF16, besides its operands.
func TestFlashAttention(t *testing.T) {
	cases := []heads{
		newHeads(72, 100, 100, 4, 4, 0), newHeads(256, 70, 264, 4, 1, 0), newHeads(32, 130, 130, 4, 2, 50),
		newHeads(8, 3, 5, 2, 1, 0), newHeads(256, 200, 129, 2, 1, 5), newHeads(17, 97, 161, 3, 3, 0),
	}
	r := rand.New(rand.NewPCG(9, 9))
	for range 12 {
		kv := 1 + r.Int64N(3)
		cases = append(cases, newHeads(1+r.Int64N(140), 1+r.Int64N(220), 1+r.Int64N(300), kv*(1+r.Int64N(3)), kv, float32(r.IntN(2)*20)))
	}
	for _, h := range cases {
		t.Run(fmt.Sprintf("d=%d,tokens=%d,keys=%d,heads=%d,kv=%d,cap=%v", h.d, h.tokens, h.keys, h.heads, h.kv, h.softcap), func(t *testing.T) {
			h.scale = 0.125
			for _, values := range [][]float32{h.q, h.k, h.v} {
				roundBF16(values)
			}
			var want []float64
			for i := range h.tokens {
				for head := range h.heads {
					want = append(want, h.attend(head, i, 0, h.keys)...)
				}
			}
			var exact []float32
			for _, threads := range []int{1, 3} {
				e, err := NewBackend(Options{Device: "cpu", Threads: threads, All: true})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				got := h.flash(t, e, GraphOptions{Exact: true})
				near(t, "exact", got, want, 1e-5)
				rounded := h.flash(t, e, GraphOptions{})
				near(t, "rounded", rounded, want, 4e-3)
				if got = append(got, rounded...); exact != nil {
					sameBits(t, fmt.Sprint(threads, " threads"), got, exact)
				}
				exact = got
			}
		})
	}
}

// TestFlashAttentionBias compares biases that attention adds with those that are added
// before.
func TestFlashAttentionBias(t *testing.T) {
	for _, h := range []heads{newHeads(72, 100, 130, 4, 4, 0), newHeads(17, 7, 140, 4, 2, 20), newHeads(48, 97, 5, 2, 1, 0)} {
		for _, exact := range []bool{true, false} {
			t.Run(fmt.Sprintf("d=%d,exact=%v", h.d, exact), func(t *testing.T) {
				attention := func(before bool) []float32 {
					got, err := computeWith(t, newKernels(t), GraphOptions{Exact: exact}, func(g *Graph) Tensor {
						q, k, v := g.Float32s(h.q, h.d, h.tokens, h.heads), g.Float32s(h.k, h.d, h.keys, h.kv), g.Float32s(h.v, h.d, h.keys, h.kv)
						var bias []Tensor
						for i, x := range []*Tensor{&q, &k, &v} {
							b := g.Float32s(random(int(h.d*x.Dim(2)), uint64(4+i)), h.d, 1, x.Dim(2))
							if before {
								*x = g.Add(*x, b)
							} else {
								bias = append(bias, b)
							}
						}
						return g.FlashAttention(q, k, v, h.scale, h.softcap, bias...)
					})
					if err != nil {
						t.Fatal(err)
					}
					return got
				}
				sameBits(t, "biases", attention(false), attention(true))
			})
		}
	}
}

func TestFlashAttentionRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		keys int64   // width
		bias []int64 // lengths
	}{
		"keys of another width": {4, nil},
		"one bias":              {8, []int64{8}},
		"a short bias":          {8, []int64{8, 7, 8}},
		"four biases":           {8, []int64{8, 8, 8, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compute(t, newKernels(t), func(g *Graph) Tensor {
				var bias []Tensor
				for _, n := range c.bias {
					bias = append(bias, g.Float32s(make([]float32, n), n))
				}
				return g.FlashAttention(g.Float32s(make([]float32, 8), 8), g.Float32s(make([]float32, c.keys), c.keys), g.Float32s(make([]float32, 8), 8), 1, 0, bias...)
			})
			if err == nil || !strings.Contains(err.Error(), "do not fit") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestFlashAttentionNaN lets one query be NaN, another infinite: only those two have
// no attention.
func TestFlashAttentionNaN(t *testing.T) {
	for _, o := range []GraphOptions{{Exact: true}, {}} {
		for _, softcap := range []float32{0, 20} {
			t.Run(fmt.Sprintf("exact=%v,cap=%v", o.Exact, softcap), func(t *testing.T) {
				h := newHeads(16, 9, 150, 1, 1, softcap)
				inf := float32(math.Inf(1))
				h.q[0], h.q[16] = float32(math.NaN()), inf
				got := h.flash(t, newKernels(t), o)
				if got[0] == got[0] {
					t.Errorf("attention of NaN is %v", got[0])
				}
				if softcap == 0 && got[16] == got[16] {
					t.Errorf("attention of an infinite query is %v", got[16])
				}
				near(t, "others", got[32:48], h.attend(0, 2, 0, 150), 1e-2)
			})
		}
	}
}
