package model

import "math"

// The exponential of logSumExp: 2^(k/expSteps), of a table, times a polynomial
// over the rest, which is so small that three terms of it are exact.
const (
	expBits  = 11
	expSteps = 1 << expBits
	// expLeast is the difference from the largest logit below which a term
	// cannot count: a million of them change no float64 sum that is 1 or more.
	expLeast = -52
	// expRound added to a float64 rounds it: the integer is in the low bits.
	expRound = 3 << 51
)

var expTable = func() (t [expSteps]float64) {
	for i := range t {
		t[i] = math.Exp2(float64(i) / expSteps)
	}
	return t
}()

// logSumExp is log Σ exp(logits), in float64, and NaN where a logit is NaN or
// the largest is infinite. A row of PaliGemma's has a quarter of a million
// terms and this is called for every token, so exp is a table and three terms.
func logSumExp(logits []float32) float64 {
	most := float32(math.Inf(-1))
	for _, v := range logits {
		if v > most {
			most = v
		}
	}
	if math.IsInf(float64(most), 0) {
		return math.NaN()
	}
	top, sum := float64(most), 0.0
	for _, v := range logits {
		d := float64(v) - top
		if d < expLeast {
			continue
		}
		x := d * (expSteps / math.Ln2)
		rounded := x + expRound
		k := math.Float64bits(rounded) // modulo 2^51: what is above leaves scale by the shift
		r := (x - (rounded - expRound)) * (math.Ln2 / expSteps)
		scale := math.Float64frombits(math.Float64bits(expTable[k&(expSteps-1)]) + k>>expBits<<52)
		sum += scale + scale*(r*(1+r*(0.5+r*(1.0/6))))
	}
	return top + math.Log(sum)
}
