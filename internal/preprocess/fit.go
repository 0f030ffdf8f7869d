package preprocess

import (
	"fmt"
	"image"

	"paligemma/internal/jpeg"
	"paligemma/internal/pillow"
)

// Fitted is a picture at the size of a vision tower.
type Fitted struct {
	RGB      *RGB        // upright, resized
	Size     image.Point // of the upright picture before resizing
	Warnings []string    // see [RGB]
}

// Fit decodes data and resizes the upright picture to size × size, as [Decode] and
// [Resize] do, to the bit. A JPEG is never held whole: a sequential one with one
// scan costs some rows of it, any other one its coefficients.
func Fit(data []byte, size int, lim Limits) (Fitted, error) {
	s, err := Open(data, lim)
	if err != nil {
		return Fitted{}, err
	}
	return s.Fit(size)
}

// keepPixels is the size up to which [Open] decodes a picture at once.
const keepPixels = 16_000_000

// Source is a picture that is still to be fitted: decoded, or a large JPEG that is
// decoded by bands while it is being resized.
type Source struct {
	rgb  *RGB
	jpeg *jpeg.Decoder
}

// Open decodes as much of a picture as can be done well without knowing the size
// that it is for. Its errors are those of [Decode].
func Open(data []byte, lim Limits) (s *Source, err error) {
	lim = lim.withDefaults()
	if err := checkBytes(data, lim); err != nil {
		return nil, err
	}
	if Kind(data) == "JPEG" {
		defer guard("JPEG", &err)
		d, err := openJPEG(data, lim)
		if err != nil {
			return nil, decodeError("JPEG", err)
		}
		if int64(d.Width)*int64(d.Height) > keepPixels {
			return &Source{jpeg: d}, nil
		}
	}
	img, err := Decode(data, lim)
	if err != nil {
		return nil, err
	}
	return &Source{rgb: img}, nil
}

// Fit resizes the picture, once. Its errors are those of [Decode].
func (s *Source) Fit(size int) (f Fitted, err error) {
	if size <= 0 || size > 1<<14 {
		return Fitted{}, fmt.Errorf("resize picture: size %d is out of range", size)
	}
	if s.rgb != nil {
		return Fitted{Resize(s.rgb, size, size), image.Pt(s.rgb.W, s.rgb.H), s.rgb.Warnings}, nil
	}
	defer guard("JPEG", &err)
	d := s.jpeg
	orientation := jpegOrientation(d)
	r := pillow.NewResizer(d.Width, d.Height, orientation, size, size)
	if err := d.Decode(r); err != nil {
		return Fitted{}, decodeError("JPEG", jpegError(err))
	}
	upright := image.Pt(d.Width, d.Height)
	if orientation >= 5 {
		upright = image.Pt(d.Height, d.Width)
	}
	return Fitted{&RGB{W: size, H: size, Pix: r.Pixels()}, upright, d.Warnings()}, nil
}
