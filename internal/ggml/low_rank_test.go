package ggml

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAddLowRank compares with loops in the order that is promised, bit for bit: widths
// around those of vectors, rows in one call and in several.
func TestAddLowRank(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	for _, width := range []int{1, 3, 16, 63, 64, 65, 128, 200} {
		for _, rank := range []int{1, 2, 8, 17} {
			const rows = 5
			a, b, base := values(rank*width), values(rows*rank), values(rows*width)
			const scale = float32(0.3)
			want := slices.Clone(base)
			for i := range rows {
				for j := range width {
					var sum float32
					for k := range rank {
						sum += float32(b[i*rank+k] * a[k*width+j]) // rounded: no fused multiplication
					}
					sum = float32(scale * sum)
					want[i*width+j] += sum
				}
			}
			got := slices.Clone(base)
			if err := AddLowRank(got, width, a, b, scale); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d columns, rank %d: other values", width, rank)
			}
			apart := slices.Clone(base)
			for i := range rows {
				if err := AddLowRank(apart[i*width:(i+1)*width], width, a, b[i*rank:(i+1)*rank], scale); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(apart, got) {
				t.Errorf("%d columns, rank %d: rows apart have other values", width, rank)
			}
		}
	}
}

// TestAddLowRankRefuses checks lengths before anything is written.
func TestAddLowRankRefuses(t *testing.T) {
	for _, n := range [][4]int{{0, 4, 4, 1}, {3, 4, 4, 1}, {4, 8, 6, 2}, {4, 8, 4, 1}, {4, 8, 4, 3}} {
		if err := AddLowRank(make([]float32, n[1]), n[0], make([]float32, n[2]), make([]float32, n[3]), 1); err == nil {
			t.Errorf("width %d, %d values, %d and %d: no error", n[0], n[1], n[2], n[3])
		}
	}
	if err := AddLowRank(nil, 4, nil, nil, 1); err != nil {
		t.Error(err)
	}
}
