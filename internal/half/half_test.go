package half

import (
	"math"
	"testing"
)

// TestFromF16 compares every F16 with the definition of the format.
func TestFromF16(t *testing.T) {
	for h := range 1 << 16 {
		got := FromF16(uint16(h))
		sign, exponent, fraction := 1-2*float64(h>>15), h>>10&0x1F, h&0x3FF
		want := sign * math.Ldexp(1+float64(fraction)/1024, exponent-15)
		switch {
		case exponent == 0:
			want = math.Copysign(math.Ldexp(float64(fraction), -24), sign)
		case exponent == 31 && fraction == 0:
			want = math.Inf(int(sign))
		case exponent == 31:
			if bits := uint32(h>>15)<<31 | 0xFF<<23 | uint32(fraction)<<13; math.Float32bits(got) != bits {
				t.Fatalf("NaN %04x is %08x, want %08x", h, math.Float32bits(got), bits)
			}
			continue
		}
		if float64(got) != want || math.Signbit(float64(got)) != (h>>15 == 1) {
			t.Fatalf("%04x is %v, want %v", h, got, want)
		}
	}
}

// TestFromBF16 compares every BF16 with the definition of the format, and checks
// that ToBF16 gives it back.
func TestFromBF16(t *testing.T) {
	for h := range 1 << 16 {
		got := FromBF16(uint16(h))
		sign, exponent, fraction := 1-2*float64(h>>15), h>>7&0xFF, h&0x7F
		want := sign * math.Ldexp(1+float64(fraction)/128, exponent-127)
		switch {
		case exponent == 0:
			want = math.Copysign(math.Ldexp(float64(fraction), -126-7), sign)
		case exponent == 255 && fraction == 0:
			want = math.Inf(int(sign))
		case exponent == 255:
			if back := ToBF16(got); got == got || back != uint16(h)|0x40 {
				t.Fatalf("NaN %04x is %v, and back %04x", h, got, back)
			}
			continue
		}
		if float64(got) != want || math.Signbit(float64(got)) != (h>>15 == 1) {
			t.Fatalf("%04x is %v, want %v", h, got, want)
		}
		if back := ToBF16(got); back != uint16(h) {
			t.Fatalf("%04x comes back as %04x", h, back)
		}
	}
}

// TestToBF16 checks how values between two BF16 are rounded.
func TestToBF16(t *testing.T) {
	for name, c := range map[string]struct {
		bits uint32
		want uint16
	}{
		"just below a tie":           {0x3F807FFF, 0x3F80},
		"a tie above an even one":    {0x3F808000, 0x3F81},
		"a tie above an odd one":     {0x3F818000, 0x3F82},
		"just above a tie":           {0x3F808001, 0x3F81},
		"a negative tie":             {0xBF808000, 0xBF81},
		"a carry into the exponent":  {0x3FFFFFFF, 0x4000},
		"the smallest subnormal":     {0x00000001, 0x0000},
		"a subnormal tie":            {0x00008000, 0x0001},
		"the largest subnormal":      {0x007FFFFF, 0x0080},
		"negative zero":              {0x80000000, 0x8000},
		"the largest float32":        {0x7F7FFFFF, 0x7F80},
		"the largest that is finite": {0x7F7F7FFF, 0x7F7F},
		"infinity":                   {0x7F800000, 0x7F80},
		"negative infinity":          {0xFF800000, 0xFF80},
		"NaN with a low payload":     {0x7F800001, 0x7FC0},
		"NaN of all ones":            {0xFFFFFFFF, 0xFFFF},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ToBF16(math.Float32frombits(c.bits)); got != c.want {
				t.Errorf("%08x becomes %04x, want %04x", c.bits, got, c.want)
			}
		})
	}
}
