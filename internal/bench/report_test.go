package bench

import "testing"

func TestUnsteady(t *testing.T) {
	steady := Run{Vision: 100, Prefill: 100, DecodeRate: 50, Caption20: 500}
	for _, c := range []struct {
		name   string
		change func(*Run)
		want   float64
	}{
		{"alike", func(*Run) {}, 0},
		{"a little", func(r *Run) { r.Vision = 120 }, 0},
		{"vision", func(r *Run) { r.Vision = 150 }, 0.5},
		{"prefill", func(r *Run) { r.Prefill = 200 }, 1},
		{"decoding", func(r *Run) { r.DecodeRate = 25 }, 0.5},
		{"caption", func(r *Run) { r.Caption20 = 1500 }, 2},
		{"opening does not count", func(r *Run) { r.Open = 100 }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := steady
			c.change(&other)
			r := Report{DecodeTokens: 20, Runs: []Run{steady, steady, other}}
			r.summarize()
			if got := r.Unsteady(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	t.Run("what takes no time", func(t *testing.T) {
		r := Report{DecodeTokens: 2, Runs: []Run{{Vision: 1, Prefill: 1, DecodeRate: 1000, Caption20: 5}, {Vision: 9, Prefill: 9, DecodeRate: 100, Caption20: 15}}}
		r.summarize()
		if got := r.Unsteady(); got != 0 {
			t.Error(got)
		}
	})
}
