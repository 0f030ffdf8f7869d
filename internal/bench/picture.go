package bench

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
)

// Size of the synthetic picture.
const pictureWidth, pictureHeight = 1024, 768

// syntheticPicture is a JPEG of 1024×768 pixels with soft and sharp parts: about
// as much work to decode and resize as a photograph of that size.
func syntheticPicture() []byte {
	m := image.NewRGBA(image.Rect(0, 0, pictureWidth, pictureHeight))
	for y := range pictureHeight {
		for x := range pictureWidth {
			u, v := float64(x)/pictureWidth, float64(y)/pictureHeight
			wave := math.Sin(40*u*u+9*v) * math.Cos(25*v-6*u)
			grain := float64((x*7919+y*104729)%97) / 97
			m.SetRGBA(x, y, color.RGBA{
				R: uint8(255 * (0.8*u + 0.2*grain)),
				G: uint8(127 + 100*wave),
				B: uint8(255 * (0.7*v + 0.3*grain*u)),
				A: 255,
			})
		}
	}
	var b bytes.Buffer
	_ = jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}) // neither the picture nor the buffer can fail
	return b.Bytes()
}
