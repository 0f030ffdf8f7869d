package preprocess

// Normalize returns (v/255 − mean)/std of each sample as float32 [3][H][W],
// channels R, G, B, rounded as transformers rounds it (SiglipImageProcessor):
// v/255 once, then float32 arithmetic. For mean = std = 0.5 that is
// v/127.5 − 1, bit for bit. std must not be zero.
func Normalize(img *RGB, mean, std [3]float32) []float32 {
	const rescale = 1.0 / 255
	var table [3][256]float32
	for c := range table {
		for v := range table[c] {
			table[c][v] = (float32(float64(v)*rescale) - mean[c]) / std[c]
		}
	}
	n := img.W * img.H
	out := make([]float32, 3*n)
	r, g, b := out[:n], out[n:2*n], out[2*n:]
	for i := range n {
		p := img.Pix[3*i : 3*i+3 : 3*i+3]
		r[i], g[i], b[i] = table[0][p[0]], table[1][p[1]], table[2][p[2]]
	}
	return out
}
