package pillow

import (
	"math"
	"slices"
)

// filter is a resampling kernel and its support: how far from the center, in
// samples of the larger side, it reaches.
type filter struct {
	kernel  func(x float64) float64
	support float64
}

var (
	bilinearFilter = filter{bilinear, 1}
	bicubicFilter  = filter{bicubic, 2}
)

// bilinear is the triangle kernel.
func bilinear(x float64) float64 {
	return max(1-math.Abs(x), 0)
}

// bicubic is Keys' kernel with a = −0.5. The conversions keep a compiler for a
// machine with fused multiply-add from fusing, which would round differently.
func bicubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return float64(float64(float64(float64(float64(x-5)*x)+8)*x)-4) * a
	}
	return 0
}

// taps are the weights of one output sample: those of the input samples first,
// first+1, ….
type taps[T float64 | int32] struct {
	first   int
	weights []T
}

// end is the place after the last input sample.
func (t taps[T]) end() int {
	return t.first + len(t.weights)
}

// precomputeCoeffs returns the taps of the out samples that in samples are
// resized to (Pillow's function of that name). Where the picture shrinks, the
// kernel widens. Taps beyond the edges are left out, and weights add up to 1.
func precomputeCoeffs(in, out int, f filter) []taps[float64] {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support := f.support * stretch
	inverse := 1 / stretch
	all := make([]taps[float64], out)
	for i := range all {
		center := float64((float64(i) + 0.5) * scale)
		first := max(int(center-support+0.5), 0)
		end := min(int(center+support+0.5), in)
		weights := make([]float64, max(end-first, 0))
		sum := 0.0
		for j := range weights {
			weights[j] = f.kernel((float64(first+j) - center + 0.5) * inverse)
			sum += weights[j]
		}
		if sum != 0 {
			for j := range weights {
				weights[j] /= sum
			}
		}
		all[i] = taps[float64]{first, weights}
	}
	return all
}

// coeffBits is the precision of weights for 8-bit samples: Pillow keeps 8 bits
// for the sample and 2 for the overshoot of a 32-bit accumulator.
const coeffBits = 32 - 8 - 2

// half is what accumulators begin with, so that clip rounds.
const half = int32(1) << (coeffBits - 1)

// normalizeCoeffs8bpc rounds weights to coeffBits bits of fraction, halves away
// from zero.
func normalizeCoeffs8bpc(all []taps[float64]) []taps[int32] {
	fixed := make([]taps[int32], len(all))
	for i, t := range all {
		weights := make([]int32, len(t.weights))
		for j, v := range t.weights {
			weights[j] = int32(math.Copysign(math.Floor(math.Abs(float64(v*(1<<coeffBits)))+0.5), v))
		}
		fixed[i] = taps[int32]{t.first, weights}
	}
	return fixed
}

// bicubic8bpc returns the taps of the out samples that in 8-bit samples are
// resized to.
func bicubic8bpc(in, out int) []taps[int32] {
	return normalizeCoeffs8bpc(precomputeCoeffs(in, out, bicubicFilter))
}

// mirror returns the taps for n input samples in reverse order.
func mirror(all []taps[int32], n int) []taps[int32] {
	out := make([]taps[int32], len(all))
	for i, t := range all {
		weights := slices.Clone(t.weights)
		slices.Reverse(weights)
		out[i] = taps[int32]{n - t.end(), weights}
	}
	return out
}

// clip rounds an accumulator to an 8-bit sample.
func clip(acc int32) byte {
	return byte(min(max(acc>>coeffBits, 0), 255))
}
