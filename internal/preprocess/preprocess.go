// Package preprocess turns the bytes of a picture file into the numbers a
// vision tower reads: sniff, check limits, decode, apply the orientation,
// composite over white, resize as Pillow does, normalize. JPEG is decoded by package
// jpeg, fax compression by package ccitt; package pillow resizes.
//
// The input is untrusted. Nothing here panics on it, sizes are checked from the
// header before any pixel is decoded, and a picture that is cut short is an
// error rather than half a picture.
package preprocess

import (
	"errors"
)

// ErrUnsupported is wrapped by errors about files of a type that is not read, or
// with a feature that is not decoded (12-bit or lossless JPEG, for instance).
var ErrUnsupported = errors.New("unsupported picture")

// ErrTooLarge is wrapped by errors about files or pictures beyond [Limits].
var ErrTooLarge = errors.New("picture too large")

// Limits bounds what a picture may cost. A field that is zero or negative
// stands for its default.
type Limits struct {
	MaxBytes  int64 // of the file
	MaxPixels int64 // width · height of the decoded picture
}

// DefaultLimits are 64 MiB of file and 40 megapixels.
var DefaultLimits = Limits{MaxBytes: 64 << 20, MaxPixels: 40_000_000}

func (l Limits) withDefaults() Limits {
	if l.MaxBytes <= 0 {
		l.MaxBytes = DefaultLimits.MaxBytes
	}
	if l.MaxPixels <= 0 {
		l.MaxPixels = DefaultLimits.MaxPixels
	}
	// So that sums and products of what passed the limits cannot overflow.
	l.MaxBytes = min(l.MaxBytes, 1<<40)
	l.MaxPixels = min(l.MaxPixels, 1<<34)
	return l
}

// RGB is a picture of 8-bit samples.
type RGB struct {
	W, H     int
	Pix      []byte   // [H][W][3], rows without padding
	Warnings []string // what the decoder mended or ignored in a damaged file, a phrase each
}

func newRGB(w, h int) *RGB {
	return &RGB{W: w, H: h, Pix: make([]byte, 3*w*h)}
}
