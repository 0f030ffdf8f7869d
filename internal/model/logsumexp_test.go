package model

import (
	"math"
	"math/rand/v2"
	"testing"
)

// plainLogSumExp is the definition.
func plainLogSumExp(logits []float32) float64 {
	top := math.Inf(-1)
	for _, v := range logits {
		top = max(top, float64(v))
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

func randomLogits(r *rand.Rand, n int, spread float64) []float32 {
	logits := make([]float32, n)
	for i := range logits {
		logits[i] = float32(spread * r.NormFloat64())
	}
	return logits
}

func TestLogSumExp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, spread := range []float64{0, 1e-6, 0.1, 1, 4, 10, 30, 100, 1e4, 1e30} {
		for _, n := range []int{1, 2, 3, 17, 1000, 257216} {
			logits := randomLogits(r, n, spread)
			got, want := logSumExp(logits), plainLogSumExp(logits)
			if math.Abs(got-want) > 4e-15*max(1, math.Abs(want)) {
				t.Errorf("%d logits of spread %g: %.17g, want %.17g", n, spread, got, want)
			}
		}
	}
	// Each term next to the one that is certain.
	for d := 0.0; d > -800; d -= 0.0137 {
		logits := []float32{0, float32(d)}
		if got, want := logSumExp(logits), plainLogSumExp(logits); math.Abs(got-want) > 4e-16 {
			t.Fatalf("0 and %g: %.17g, want %.17g", d, got, want)
		}
	}
}

func TestLogSumExpOfNoNumbers(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for name, test := range map[string]struct {
		logits []float32
		want   float64
	}{
		"NaN first":         {[]float32{nan, 0, 1}, math.NaN()},
		"NaN last":          {[]float32{0, 1, nan}, math.NaN()},
		"NaN alone":         {[]float32{nan}, math.NaN()},
		"infinite":          {[]float32{0, inf}, math.NaN()},
		"none":              {nil, math.NaN()},
		"all forbidden":     {[]float32{-inf, -inf}, math.NaN()},
		"some forbidden":    {[]float32{-inf, 3, -inf}, 3},
		"largest and least": {[]float32{math.MaxFloat32, -math.MaxFloat32}, math.MaxFloat32},
	} {
		t.Run(name, func(t *testing.T) {
			if got := logSumExp(test.logits); got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func BenchmarkLogSumExp(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	logits := randomLogits(r, 257216, 4)
	for name, f := range map[string]func([]float32) float64{"table": logSumExp, "definition": plainLogSumExp} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f(logits)
			}
		})
	}
}
