package ggml

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"unsafe"
)

// TestLikeliest searches rows of many lengths, the largest value being anywhere in them.
func TestLikeliest(t *testing.T) {
	b := newDevice(t)
	for _, n := range []int64{1, 2, 251, 256, 257, 514, 1000, 257216} { // 251 and 257 are prime
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			const rows = 3
			x := random(int(n)*rows, 1)
			var want []int32
			for row := range rows {
				at := int64(row) * (n - 1) / (rows - 1) // the first, one in the middle, the last
				x[int64(row)*n+at] = 100
				want = append(want, int32(at))
			}
			got, err := likeliest(t, b, x, n)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%v, %v, want %v", got, err, want)
			}
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				x[n] = float32(bad)
				if got, err := likeliest(t, b, x, n); !errors.Is(err, ErrNotFinite) {
					t.Errorf("with %v: %v, %v", bad, got, err)
				}
			}
		})
	}
}

// TestLikeliestOfEqual finds the first of two equal values in different parts.
func TestLikeliestOfEqual(t *testing.T) {
	x := make([]float32, 1024)
	x[700], x[300] = 1, 1
	if got, err := likeliest(t, newDevice(t), x, 1024); err != nil || got[0] != 300 {
		t.Errorf("%v, %v, want 300", got, err)
	}
}

// TestLikeliestOfNone makes sure that devices read a value of the row where it has no largest.
func TestLikeliestOfNone(t *testing.T) {
	b := newDevice(t)
	for _, bad := range []float64{math.NaN(), math.Inf(-1)} {
		g := b.NewGraph(GraphOptions{})
		l := g.Likeliest(g.Float32s(slices.Repeat([]float32{float32(bad)}, 1024), 1024, 1))
		if err := g.Compute(t.Context()); err != nil {
			t.Fatal(err)
		}
		best := make([]int32, l.parts)
		b.download(l.best, 0, l.best.size(), unsafe.Pointer(&best[0]))
		values, err := g.Read(l.values)
		if err != nil || len(values) != len(best) {
			t.Fatalf("%d values of %d parts, %v", len(values), len(best), err)
		}
		for i, v := range values {
			if best[i] < 0 || int64(best[i]) >= l.width || math.Abs(float64(v)) != float64(float32(mostLogit)) {
				t.Fatalf("all are %v: part %d has %v at %d", bad, i, v, best[i])
			}
		}
		g.Close()
	}
}

func TestPartsOf(t *testing.T) {
	for n, want := range map[int64]int64{1: 1, 100: 100, 256: 256, 257: 1, 1024: 256, 257152: 224, 257216: 64} {
		if got := partsOf(n); got != want {
			t.Errorf("%d values are searched in %d parts, want %d", n, got, want)
		}
	}
}

// TestReadLikeliestRefuses reads what no graph found.
func TestReadLikeliestRefuses(t *testing.T) {
	g := newDevice(t).NewGraph(GraphOptions{})
	defer g.Close()
	if got, err := g.ReadLikeliest(Likeliest{}); err == nil {
		t.Errorf("of no search: %v", got)
	}
	l := g.Likeliest(g.Float32s(make([]float32, 4), 4, 1))
	g.Scale(Tensor{}, 1)
	if got, err := g.ReadLikeliest(l); err == nil || err != g.Err() {
		t.Errorf("of a graph that failed: %v, %v", got, err)
	}
}

func likeliest(t *testing.T, b *Backend, x []float32, n int64) ([]int32, error) {
	t.Helper()
	g := b.NewGraph(GraphOptions{})
	defer g.Close()
	l := g.Likeliest(g.Float32s(x, n, int64(len(x))/n))
	if _, err := g.ReadLikeliest(l); err == nil {
		t.Error("read before it was computed: no error")
	}
	if err := g.Compute(context.Background()); err != nil {
		t.Fatal(err)
	}
	return g.ReadLikeliest(l)
}
