package pillow

// ResizeFloats resizes src [srcH][srcW] to h × w as Image.resize does in mode F
// with Resampling.BILINEAR. It calls each for every row [w] from top to bottom;
// row is valid during the call. All sizes must be positive.
//
// Each pass is skipped where it would not change the size. Sums are float64, in
// the order of the samples; a pass rounds to float32.
func ResizeFloats(src []float32, srcW, srcH, w, h int, each func(y int, row []float32)) {
	if w != srcW {
		src = resizeRows(src, srcW, srcH, w)
	}
	if h == srcH {
		for y := range h {
			each(y, src[y*w:][:w])
		}
		return
	}
	row, sums := make([]float32, w), make([]float64, w)
	for y, t := range precomputeCoeffs(srcH, h, bilinearFilter) {
		clear(sums)
		for i, weight := range t.weights {
			for x, v := range src[(t.first+i)*w:][:w] {
				sums[x] += float64(float64(v) * weight) // the conversion forbids a fused multiply-add
			}
		}
		for x, sum := range sums {
			row[x] = float32(sum)
		}
		each(y, row)
	}
}

// resizeRows is the horizontal pass: src [srcH][srcW] to [srcH][w].
func resizeRows(src []float32, srcW, srcH, w int) []float32 {
	all := precomputeCoeffs(srcW, w, bilinearFilter)
	out := make([]float32, srcH*w)
	for y := range srcH {
		in := src[y*srcW:][:srcW]
		for x, t := range all {
			sum := 0.0
			for i, weight := range t.weights {
				sum += float64(float64(in[t.first+i]) * weight)
			}
			out[y*w+x] = float32(sum)
		}
	}
	return out
}
