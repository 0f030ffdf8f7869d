package ggml

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"paligemma/internal/gguf"
)

// groupsCase is a matrix with several updates, each of other ranks, and the rows of each
// group that gets one; the last group gets none.
type groupsCase struct {
	typ   gguf.Type
	k, n  int
	ranks []int
	rows  []int64
}

func (c groupsCase) String() string { return fmt.Sprintf("%v/%dx%d/rows %v", c.typ, c.k, c.n, c.rows) }

// groupsCases have ranks on both sides of maxProjected, and rows of more than one block.
var groupsCases = []groupsCase{
	{gguf.TypeF32, 96, 70, []int{8, 3}, []int64{1, 1, 1}},
	{gguf.TypeF32, 1100, 41, []int{3, 130}, []int64{2, 20, 1}},
	{gguf.TypeF16, 64, 48, []int{4, 1}, []int64{1, 2, 1}},
	{gguf.TypeBF16, 96, 100, []int{4, 9}, []int64{3, 1, 2}},
	{gguf.TypeQ8_0, 1120, 77, []int{16, 5}, []int64{1, 3, 9}},
	{gguf.TypeQ4_K, 512, 131, []int{6, 140}, []int64{1, 1, 1}},
	{gguf.TypeQ4_K, 4352, 131, []int{6, 7}, []int64{17, 2, 1}},
	{gguf.TypeQ6_K, 2304, 65, []int{2, 1}, []int64{4, 4, 4}},
}

// place makes the weights and the groups, and rows for these.
func (c groupsCase) place(t *testing.T, b *Backend) (w Tensor, groups []RowUpdates, x []float32) {
	t.Helper()
	specs := []Spec{randomWeights(t, c.typ, int64(c.k), int64(c.n), 3)}
	for i, r := range c.ranks {
		seed := uint64(10 * i)
		specs = append(specs, NewSpec("a", random(c.k*(r+2), seed+4), c.k, r+2),
			NewSpec("b", random(40*r, seed+5), 40, r), NewSpec("b", random(c.n-40, seed+6), c.n-40, 1))
	}
	store, err := b.NewWeights(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	s, all := store.Tensors(), int64(0)
	for i, n := range c.rows {
		r := RowUpdates{Rows: n}
		if i < len(c.ranks) {
			r.Updates = Updates{s[0]: {A: s[1+3*i], First: 1, B: s[2+3*i:][:2]}}
		}
		groups, all = append(groups, r), all+n
	}
	return s[0], groups, random(c.k*int(all), 1)
}

// TestLowRankGroups multiplies groups of rows with the same weights, each with an update of
// its own or none: the same bits as each group alone, whatever writes the rows.
func TestLowRankGroups(t *testing.T) {
	for name, o := range map[string]Options{
		"alone": {Device: "cpu", Threads: 1},
		"team":  {Device: "cpu", Threads: 3, All: true},
		"plain": {Device: "cpu", Threads: 1, Plain: true},
	} {
		b, err := NewBackend(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		for _, c := range groupsCases {
			t.Run(name+"/"+c.String(), func(t *testing.T) {
				if c.typ != gguf.TypeF32 && (o.Plain || !multiplies(c.typ, 256)) {
					t.Log("ggml multiplies one row otherwise than several")
					return
				}
				w, groups, x := c.place(t, b)
				product := func(x []float32, groups ...RowUpdates) []float32 {
					got, err := computeWith(t, b, GraphOptions{Exact: c.typ == gguf.TypeF32, Apart: true}, func(g *Graph) Tensor {
						g.Update(groups...)
						h := g.RMSNorm(g.Float32s(x, int64(c.k), int64(len(x)/c.k)), g.Float32s(random(c.k, 7), int64(c.k)), 1e-6, w, w)
						return g.Concat(g.MulWeights(w, h), g.MulWeights(w, h), 0) // the second finds A·h
					})
					if err != nil {
						t.Fatal(err)
					}
					return got
				}
				all := product(x, groups...)
				for i, r := range groups {
					n := int(r.Rows)
					sameBits(t, fmt.Sprintf("group %d", i), all[:2*n*c.n], product(x[:n*c.k], RowUpdates{Updates: r.Updates}))
					all, x = all[2*n*c.n:], x[n*c.k:]
				}
			})
		}
	}
}

// TestLowRankGroupsRefused gives groups of more or fewer rows than there are.
func TestLowRankGroupsRefused(t *testing.T) {
	b := newBackend(t)
	c := groupsCases[0]
	w, groups, _ := c.place(t, b)
	for name, rows := range map[string][]int64{"too few": {1, 1}, "too many": {1, 3}, "none": {3, 0}, "negative": {4, -1}} {
		t.Run(name, func(t *testing.T) {
			g := b.NewGraph(GraphOptions{})
			defer g.Close()
			g.Update(RowUpdates{rows[0], groups[0].Updates}, RowUpdates{rows[1], nil})
			if y := g.MulWeights(w, g.Float32s(make([]float32, 3*c.k), int64(c.k), 3)); y.Valid() || g.Err() == nil {
				t.Errorf("%v, no error", y)
			}
		})
	}
}

// TestGroupsInTurns computes graphs with as many rows each, but other groups, one after the
// other: the memory plan of one is none for another that is built differently.
func TestGroupsInTurns(t *testing.T) {
	for name, o := range map[string]Options{
		"kernels": {Device: "cpu", Threads: 1},
		"plain":   {Device: "cpu", Threads: 1, Plain: true},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := NewBackend(o)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			const rows = 6
			c := groupsCase{gguf.TypeF32, 96, 96, []int{4, 9}, []int64{1, 1, rows - 2}}
			w, with, x := c.place(t, b)
			layers := func(x []float32, groups ...RowUpdates) []float32 {
				got, err := computeWith(t, b, GraphOptions{Exact: true, Apart: true}, func(g *Graph) Tensor {
					g.Update(groups...)
					y := g.Float32s(x, int64(c.k), int64(len(x)/c.k))
					for range 3 { // what comes in is still needed when the rest is computed
						y = g.Add(y, g.MulWeights(w, g.RMSNorm(y, g.Float32s(random(c.k, 7), int64(c.k)), 1e-6, w)))
					}
					return y
				})
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			var want [3][rows][]float32
			for i := range want {
				for row := range want[i] {
					want[i][row] = layers(x[row*c.k:][:c.k], RowUpdates{Updates: with[i].Updates})
				}
			}
			dice := rand.New(rand.NewPCG(1, 2))
			for range 60 {
				var groups []RowUpdates
				var of []int // of each row
				for len(of) < rows {
					n, i := 1+dice.IntN(rows-len(of)), dice.IntN(len(want))
					groups = append(groups, RowUpdates{int64(n), with[i].Updates})
					of = append(of, slices.Repeat([]int{i}, n)...)
				}
				got := layers(x, groups...)
				for row, i := range of {
					sameBits(t, fmt.Sprintf("%v, row %d", of, row), got[row*c.k:][:c.k], want[i][row])
				}
			}
		})
	}
}
