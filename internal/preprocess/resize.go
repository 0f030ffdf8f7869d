package preprocess

import "paligemma/internal/pillow"

// Resize resizes src to w × h as [pillow.Resize] does, to the last bit of
// Pillow's bicubic resize. If w or h is not positive, or src is empty, the result
// is an empty picture.
func Resize(src *RGB, w, h int) *RGB {
	if w <= 0 || h <= 0 || src.W <= 0 || src.H <= 0 {
		return &RGB{}
	}
	return &RGB{W: w, H: h, Pix: pillow.Resize(src.Pix, src.W, src.H, w, h)}
}
