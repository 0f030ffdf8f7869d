package jpeg

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestInverseDCT compares with the definition (T.81, A.3.3).
func TestInverseDCT(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var worst, sum float64
	const n = 2000
	for range n {
		var coef, quant [64]int16
		for i := range quant {
			quant[i] = 1 + int16(r.IntN(20))
		}
		coef[0] = int16(r.IntN(1600)-800) / quant[0]
		for range r.IntN(20) {
			i := 1 + r.IntN(63)
			coef[i] = int16(r.IntN(200)-100) / quant[i]
		}
		if r.IntN(4) == 0 { // in the first row only
			clear(coef[8:])
		}
		dst := make([]byte, 7*11+8)
		inverseDCT(dst, 11, &coef, &quant)
		for y := range 8 {
			for x := range 8 {
				want := 128.0
				for v := range 8 {
					for u := range 8 {
						c := float64(coef[8*v+u]) * float64(quant[8*v+u]) / 4
						if u == 0 {
							c /= math.Sqrt2
						}
						if v == 0 {
							c /= math.Sqrt2
						}
						want += c * math.Cos(float64(2*x+1)*float64(u)*math.Pi/16) * math.Cos(float64(2*y+1)*float64(v)*math.Pi/16)
					}
				}
				d := math.Abs(float64(dst[11*y+x]) - min(max(want, 0), 255))
				worst, sum = max(worst, d), sum+d
			}
		}
	}
	// Rounding alone gives 0.5 and 0.25.
	if mean := sum / n / 64; worst > 0.6 || mean > 0.26 {
		t.Errorf("differs by up to %.3f, %.4f in the mean", worst, mean)
	}
}

// TestInverseDCTOverflow pins numbers beyond 16 bits; overflow.jpg, decoded by
// Pillow, has more of them.
func TestInverseDCTOverflow(t *testing.T) {
	for _, c := range []struct {
		place        int
		coef, quant  int16
		first, eight byte // samples of the first row
	}{
		{0, 1023, 8, 255, 255},
		{0, 1023, 16, 126, 126},     // 16368 · 4 is −64 in 16 bits
		{0, -1024, 32, 128, 128},    // −32768 · 4 is 0
		{0, 32767, 32767, 128, 128}, // the product is 1, then 4, then rounds to 0
		{8, 1023, 32, 255, 255},     // a column saturates
		{8, 32767, 2, 128, 128},     // −2
	} {
		var coef, quant [64]int16
		coef[c.place], quant[c.place] = c.coef, c.quant
		var dst [64]byte
		inverseDCT(dst[:], 8, &coef, &quant)
		if dst[0] != c.first || dst[7] != c.eight {
			t.Errorf("%d · %d at %d: %v", c.coef, c.quant, c.place, dst[:8])
		}
	}
	// A column without AC coefficients saturates too, if another one has some.
	coef, quant := [64]int16{0: 1023, 9: 1}, [64]int16{0: 16, 9: 1}
	var dst [64]byte
	inverseDCT(dst[:], 8, &coef, &quant)
	if dst[0] != 255 {
		t.Errorf("with another coefficient: %v", dst[:8])
	}
}
