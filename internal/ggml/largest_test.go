package ggml

import (
	"math"
	"slices"
	"testing"
)

// TestLargest looks for values of which several are the largest, with lengths that
// are not multiples of a vector or a block.
func TestLargest(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	with := func(n int, x map[int]float32) []float32 {
		values := random(n, uint64(n))
		for i, v := range x {
			values[i] = v
		}
		return values
	}
	for name, c := range map[string]struct {
		values []float32
		want   int
	}{
		"none":               {nil, -1},
		"one":                {[]float32{-3}, 0},
		"only -Inf":          {[]float32{-inf, -inf}, 0},
		"all alike":          {slices.Repeat([]float32{2}, 3000), 0},
		"zeros of two signs": {[]float32{-1, float32(math.Copysign(0, -1)), 0}, 1},
		"a vector":           {with(16, map[int]float32{15: 9, 3: 9}), 3},
		"after a vector":     {with(17, map[int]float32{16: 9}), 16},
		"two blocks":         {with(2048, map[int]float32{1023: 9, 1024: 9}), 1023},
		"the second block":   {with(2048, map[int]float32{1023: 8, 1024: 9, 2047: 9}), 1024},
		"the last value":     {with(257216+5, map[int]float32{257216 + 4: 9}), 257216 + 4},
		"Inf":                {with(5000, map[int]float32{4321: inf}), 4321},
		"NaN first":          {with(5000, map[int]float32{0: nan, 7: inf}), -1},
		"NaN in a vector":    {with(5000, map[int]float32{4000: nan, 7: 9}), -1},
		"NaN last":           {with(5001, map[int]float32{5000: nan}), -1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Largest(c.values); got != c.want {
				t.Errorf("the largest of %d values is %d, want %d", len(c.values), got, c.want)
			}
		})
	}
}
