package ggml

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"paligemma/internal/gguf"
)

// company is sequences of cells, and the tokens that a pass gives them.
type company struct {
	d, heads, kv   int64
	scale, softcap float32
	members        []member
}

// member is a sequence with some shared cells, then its own.
type member struct {
	heads
	shared, own int64
	seen        []CellRange // of the last tokens
}

func newMember(r *rand.Rand, c company, shared, own, tokens int64) member {
	m := member{shared: shared, own: own}
	m.heads = newHeads(c.d, tokens, shared+own, c.heads, c.kv, c.softcap)
	m.scale = c.scale
	for _, values := range []*[]float32{&m.q, &m.k, &m.v} {
		*values = random(len(*values), r.Uint64())
	}
	for range tokens {
		from := r.Int64N(shared + own)
		m.seen = append(m.seen, CellRange{int32(from), int32(from + 1 + r.Int64N(shared+own-from))})
	}
	return m
}

// byToken is values [d, n, heads] as [d, heads, n], from the token numbered from on.
func byToken(values []float32, d, n, heads, from int64) []float32 {
	var out []float32
	for i := from; i < n; i++ {
		for h := range heads {
			out = append(out, values[(h*n+i)*d:][:d]...)
		}
	}
	return out
}

// attend writes all cells of some members and lets their tokens see theirs.
func (c company) attend(t *testing.T, b *Backend, members []member) []float32 {
	t.Helper()
	var specs []Spec
	for _, m := range members {
		for _, n := range []int64{max(1, m.shared), m.own} {
			for range 2 {
				specs = append(specs, Spec{Name: "cells", Type: gguf.TypeF16, Shape: []int64{c.d, c.kv, n}})
			}
		}
	}
	store, err := b.NewStore(specs)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	got, err := computeWith(t, b, GraphOptions{}, func(g *Graph) Tensor {
		var parts []CellPart
		var q []float32
		append1 := func(q, k, v []float32, parts []CellPart) (Tensor, CellParts) {
			n := int64(len(k)) / (c.d * c.kv)
			cells := g.NewCellParts(parts)
			still := g.NewRotary(make([]int32, n), int(c.d), 10000) // no rotation
			queries, _ := g.AppendCells(g.Float32s(q, c.d, c.heads, n), g.Float32s(k, c.d, c.kv, n), g.Float32s(v, c.d, c.kv, n), still, cells)
			return queries, cells
		}
		var newK, newV []float32
		for i, m := range members {
			s := store.Tensors()[4*i:][:4]
			runs := []CellRun{{s[0], s[1]}, {s[2], s[3]}}
			if m.shared == 0 {
				runs = runs[1:]
			}
			at := int64(0)
			k, v := byToken(m.k, c.d, m.keys, c.kv, 0), byToken(m.v, c.d, m.keys, c.kv, 0)
			for _, run := range runs {
				n := run.Keys.Dim(2)
				append1(make([]float32, n*c.d*c.heads), k[at*c.d*c.kv:][:n*c.d*c.kv], v[at*c.d*c.kv:][:n*c.d*c.kv], []CellPart{{[]CellRun{run}, make1(n)}})
				at += n
			}
			parts = append(parts, CellPart{runs, m.seen})
			q = append(q, byToken(m.q, c.d, m.tokens, c.heads, 0)...)
			newK = append(newK, byToken(m.k, c.d, m.keys, c.kv, m.keys-m.tokens)...)
			newV = append(newV, byToken(m.v, c.d, m.keys, c.kv, m.keys-m.tokens)...)
		}
		queries, cells := append1(q, newK, newV, parts)
		return g.AttendCells(queries, cells, c.scale, c.softcap)
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// make1 is n ranges of the first cell.
func make1(n int64) []CellRange {
	ranges := make([]CellRange, n)
	for i := range ranges {
		ranges[i].To = 1
	}
	return ranges
}

// roundF16 rounds values to those of half precision.
func roundF16(t *testing.T, values []float32) {
	t.Helper()
	packed := make([]byte, 2*len(values))
	if err := Quantize(gguf.TypeF16, packed, values, len(values)); err != nil {
		t.Fatal(err)
	}
	if err := Dequantize(gguf.TypeF16, values, packed, len(values)); err != nil {
		t.Fatal(err)
	}
}

// cellBackends have 1 and 3 threads.
func cellBackends(t *testing.T) (backends []*Backend) {
	for _, threads := range []int{1, 3} {
		e, err := NewBackend(Options{Device: "cpu", Threads: threads, All: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		backends = append(backends, e)
	}
	return backends
}

// TestAttendCells compares attention to cells with attention written out, for
// sequences of all kinds at once: forks and others, one token and many, some that
// see few cells of many. Each gets the same bits alone, with its cells in one run,
// and from any number of threads.
func TestAttendCells(t *testing.T) {
	backends := cellBackends(t)
	r := rand.New(rand.NewPCG(4, 4))
	for _, c := range []company{
		{d: 256, heads: 8, kv: 1}, {d: 256, heads: 8, kv: 4, softcap: 5}, {d: 16, heads: 3, kv: 1}, {d: 8, heads: 4, kv: 2},
		{d: 72, heads: 10, kv: 1}, {d: 48, heads: 2, kv: 2, softcap: 2}, {d: 128, heads: 16, kv: 1}, {d: 34, heads: 15, kv: 3},
	} {
		t.Run(fmt.Sprintf("d=%d,heads=%d,kv=%d,cap=%v", c.d, c.heads, c.kv, c.softcap), func(t *testing.T) {
			c.scale = 1 / float32(math.Sqrt(float64(c.d)))
			for range 9 {
				shared, tokens := r.Int64N(2)*(1+r.Int64N(200)), 1+r.Int64N(3)*r.Int64N(20)
				c.members = append(c.members, newMember(r, c, shared, tokens+r.Int64N(150), tokens))
			}
			var want []float64
			for _, m := range c.members {
				roundF16(t, m.k)
				roundF16(t, m.v)
				for i, seen := range m.seen {
					for head := range c.heads {
						want = append(want, m.heads.attend(head, int64(i), int64(seen.From), int64(seen.To))...)
					}
				}
			}
			got := c.attend(t, backends[0], c.members)
			near(t, "together", got, want, 1e-5)
			for _, e := range backends[1:] {
				sameBits(t, fmt.Sprint(e.Threads(), " threads"), c.attend(t, e, c.members), got)
			}
			for i, m := range c.members {
				alone := m
				alone.shared, alone.own = 0, m.shared+m.own
				n := int(m.tokens * c.d * c.heads)
				sameBits(t, fmt.Sprint("alone ", i), c.attend(t, backends[0], []member{alone}), got[:n])
				got = got[n:]
			}
		})
	}
}

// TestAttendCellsTokens compares tokens of a sequence that come together with tokens
// that come one by one: the same bits.
func TestAttendCellsTokens(t *testing.T) {
	backends := cellBackends(t)
	r := rand.New(rand.NewPCG(5, 5))
	c := company{d: 64, heads: 4, kv: 2, scale: 0.1}
	m := newMember(r, c, 70, 200, 60)
	got := c.attend(t, backends[1], []member{m})
	for i := range m.tokens {
		one := m
		one.tokens, one.seen = 1, m.seen[i:i+1]
		one.q = nil
		for h := range c.heads {
			one.q = append(one.q, m.q[(h*m.tokens+i)*c.d:][:c.d]...)
		}
		n := int(c.d * c.heads)
		sameBits(t, fmt.Sprint("token ", i), c.attend(t, backends[0], []member{one}), got[int(i)*n:][:n])
	}
}

// TestAttendCellsNaN gives one sequence's keys what has no attention: that sequence
// has none, a range without it and the others have theirs.
func TestAttendCellsNaN(t *testing.T) {
	e := newKernels(t)
	r := rand.New(rand.NewPCG(6, 6))
	c := company{d: 32, heads: 2, kv: 1, scale: 0.1}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			a, b := newMember(r, c, 0, 100, 2), newMember(r, c, 0, 100, 2)
			a.seen, b.seen = []CellRange{{0, 100}, {0, 70}}, []CellRange{{0, 100}, {0, 70}}
			want := c.attend(t, e, []member{a, b})
			for i := range c.d {
				a.k[80*c.d+i] = bad
			}
			got := c.attend(t, e, []member{a, b})
			n := int(c.d * c.heads)
			if got[0] == got[0] {
				t.Errorf("attention to %v is %v", bad, got[0])
			}
			sameBits(t, "others", got[n:], want[n:]) // the second token's range ends before
		})
	}
}

// TestAppendCells compares RoPE of queries and keys with its formula.
func TestAppendCells(t *testing.T) {
	const d, heads, kv, tokens = 20, 3, 2, 5
	e := newKernels(t)
	store, err := e.NewStore([]Spec{{Name: "k", Type: gguf.TypeF16, Shape: []int64{d, kv, 9}}, {Name: "v", Type: gguf.TypeF16, Shape: []int64{d, kv, 9}}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	q, k, v := random(d*heads*tokens, 1), random(d*kv*tokens, 2), random(d*kv*tokens, 3)
	positions := []int32{1, 2, 3, 500, 4000}
	got, err := computeWith(t, e, GraphOptions{}, func(g *Graph) Tensor {
		parts := g.NewCellParts([]CellPart{{[]CellRun{{store.Tensors()[0], store.Tensors()[1]}}, make1(tokens)}})
		a, b := g.AppendCells(g.Float32s(q, d, heads, tokens), g.Float32s(k, d, kv, tokens), g.Float32s(v, d, kv, tokens), g.NewRotary(positions, d, 100), parts)
		return g.Concat(g.Cont(a), g.Cont(b), 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []float64
	for i, position := range positions {
		for h := range heads + kv {
			x := append(append([]float32{}, q[i*heads*d:][:heads*d]...), k[i*kv*d:][:kv*d]...)[h*d:]
			first, second := make([]float64, d/2), make([]float64, d/2)
			for j := range d / 2 {
				sin, cos := math.Sincos(float64(position) * math.Pow(100, -2*float64(j)/d))
				a, b := float64(x[j]), float64(x[j+d/2])
				first[j], second[j] = a*cos-b*sin, a*sin+b*cos
			}
			want = append(append(want, first...), second...)
		}
	}
	near(t, "rotated", got, want, 1e-6)
}

// TestCellsRefuse records what the kernels cannot compute.
func TestCellsRefuse(t *testing.T) {
	e := newKernels(t)
	store, err := e.NewStore([]Spec{
		{Name: "cells", Type: gguf.TypeF16, Shape: []int64{8, 2, 4}}, {Name: "f32", Type: gguf.TypeF32, Shape: []int64{8, 2, 4}},
		{Name: "wide", Type: gguf.TypeF16, Shape: []int64{16, 2, 4}}, {Name: "long", Type: gguf.TypeF16, Shape: []int64{8, 2, 5}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s := store.Tensors()
	run := CellRun{s[0], s[0]}
	one := []CellRange{{0, 1}}
	for name, parts := range map[string][]CellPart{
		"no parts":        {},
		"no runs":         {{nil, one}},
		"three runs":      {{[]CellRun{run, run, run}, one}},
		"no tokens":       {{[]CellRun{run}, nil}},
		"f32":             {{[]CellRun{{s[1], s[1]}}, one}},
		"wide values":     {{[]CellRun{{s[0], s[2]}}, one}},
		"wide second run": {{[]CellRun{run, {s[2], s[2]}}, one}},
		"long values":     {{[]CellRun{{s[0], s[3]}}, one}},
		"missing":         {{[]CellRun{{s[0], Tensor{}}}, one}},
		"many tokens":     {{[]CellRun{run}, make1(5)}},
		"beyond":          {{[]CellRun{run}, []CellRange{{0, 5}}}},
		"nothing seen":    {{[]CellRun{run}, []CellRange{{2, 2}}}},
		"negative":        {{[]CellRun{run}, []CellRange{{-1, 2}}}},
	} {
		t.Run(name, func(t *testing.T) {
			g := e.NewGraph(GraphOptions{})
			defer g.Close()
			p := g.NewCellParts(parts)
			if g.Err() == nil {
				t.Error("no error")
			}
			g.AttendCells(Tensor{}, p, 1, 0) // does nothing
		})
	}
	for name, build := range map[string]func(g *Graph, p CellParts) Tensor{
		"width of queries": func(g *Graph, p CellParts) Tensor {
			return g.AttendCells(g.Float32s(make([]float32, 16), 4, 4, 1), p, 1, 0)
		},
		"number of queries": func(g *Graph, p CellParts) Tensor {
			return g.AttendCells(g.Float32s(make([]float32, 32), 8, 2, 2), p, 1, 0)
		},
		"number of heads": func(g *Graph, p CellParts) Tensor {
			return g.AttendCells(g.Float32s(make([]float32, 24), 8, 3), p, 1, 0)
		},
		"no table": func(g *Graph, p CellParts) Tensor {
			q := g.Float32s(make([]float32, 16), 8, 2, 1)
			a, _ := g.AppendCells(q, q, q, Rotary{}, p)
			return a
		},
		"keys": func(g *Graph, p CellParts) Tensor {
			q := g.Float32s(make([]float32, 16), 8, 2, 1)
			a, _ := g.AppendCells(q, g.Float32s(make([]float32, 8), 8), q, g.NewRotary([]int32{0}, 8, 10), p)
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := computeWith(t, e, GraphOptions{}, func(g *Graph) Tensor { return build(g, g.NewCellParts([]CellPart{{[]CellRun{run}, one}})) }); err == nil {
				t.Error("no error")
			}
		})
	}
	for name, o := range map[string]GraphOptions{"exact": {Exact: true}, "plain": {Plain: true}} {
		t.Run(name, func(t *testing.T) {
			g := e.NewGraph(o)
			defer g.Close()
			if g.NewCellParts([]CellPart{{[]CellRun{run}, one}}); g.Err() == nil {
				t.Error("no error")
			}
		})
	}
}
