// Package half converts between float32 and the two 16-bit floating-point formats
// that checkpoints have: F16, IEEE 754's binary16, and BF16, the upper half of a
// float32.
package half

import "math"

// FromF16 returns the value of an F16, which float32 holds exactly. NaNs keep
// their sign and payload.
func FromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	switch exponent, fraction := uint32(h>>10&0x1F), uint32(h&0x3FF); exponent {
	case 0: // zero and subnormals: fraction · 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*(1.0/(1<<24))))
	case 0x1F: // infinity and NaN
		return math.Float32frombits(sign | 0xFF<<23 | fraction<<13)
	default:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
	}
}

// FromBF16 returns the value of a BF16, which float32 holds exactly.
func FromBF16(h uint16) float32 {
	return math.Float32frombits(uint32(h) << 16)
}

// ToBF16 returns the BF16 nearest to v; of two that are equally near, the one
// farther from zero. What is too large becomes infinity; a NaN stays one.
func ToBF16(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x40 // the payload may lie in the lower half only
	}
	return uint16((bits + 0x8000) >> 16)
}
