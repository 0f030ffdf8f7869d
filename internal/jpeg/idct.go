package jpeg

// Constants of the inverse DCT, with 13 bits of fraction: sums of cosines, √2
// times cos(kπ/16) being c(k).
const (
	fix0298 = 2446  // -c1+c3+c5-c7
	fix0390 = 3196  // c3-c5
	fix0541 = 4433  // c6
	fix0765 = 6270  // c2-c6
	fix0899 = 7373  // c3-c7
	fix1175 = 9633  // c3
	fix1501 = 12299 // c1+c3-c5-c7
	fix1847 = 15137 // c2+c6
	fix1961 = 16069 // c3+c5
	fix2053 = 16819 // c1+c3-c5+c7
	fix2562 = 20995 // c1+c3
	fix3072 = 25172 // c1+c3+c5-c7
)

// inverseDCT writes the 8×8 samples of a block to dst, whose rows are stride
// apart. coef and quant are in natural order.
//
// It is the transform that libjpeg calls "islow": Loeffler, Ligtenberg and
// Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications" (ICASSP
// 1989), the variant of 12, columns first, results of which keep two bits of
// fraction. Numbers that no encoder makes overflow just as in libjpeg-turbo's
// code for x86-64 (jidctint-avx2.asm): factors are of 16 bits, where products
// with the quantizer and sums wrap and results of columns saturate.
func inverseDCT(dst []byte, stride int, coef, quant *[64]int16) {
	busy := [8]int16{}
	for y := 8; y < 64; y += 8 {
		row := (*[8]int16)(coef[y:])
		for x, c := range row {
			busy[x] |= c
		}
	}
	if busy == [8]int16{} { // all rows are alike
		flatRows(dst, stride, coef, quant)
		return
	}
	var rows [64]int32
	for x := range 8 {
		c0 := int32(coef[x] * quant[x])
		if busy[x] == 0 {
			v := saturate(c0 << 2)
			for y := 0; y < 64; y += 8 {
				rows[y+x] = v
			}
			continue
		}
		y0, y1, y2, y3, y4, y5, y6, y7 := inverse8(c0,
			int32(coef[8+x]*quant[8+x]), int32(coef[16+x]*quant[16+x]), int32(coef[24+x]*quant[24+x]), int32(coef[32+x]*quant[32+x]),
			int32(coef[40+x]*quant[40+x]), int32(coef[48+x]*quant[48+x]), int32(coef[56+x]*quant[56+x]))
		const half, shift = 1 << 10, 11
		rows[x] = saturate((y0 + half) >> shift)
		rows[8+x] = saturate((y1 + half) >> shift)
		rows[16+x] = saturate((y2 + half) >> shift)
		rows[24+x] = saturate((y3 + half) >> shift)
		rows[32+x] = saturate((y4 + half) >> shift)
		rows[40+x] = saturate((y5 + half) >> shift)
		rows[48+x] = saturate((y6 + half) >> shift)
		rows[56+x] = saturate((y7 + half) >> shift)
	}
	for y := range 8 {
		inverseRow((*[8]byte)(dst[y*stride:]), (*[8]int32)(rows[8*y:]))
	}
}

// flatRows is [inverseDCT] for blocks that have coefficients in their first row
// only.
func flatRows(dst []byte, stride int, coef, quant *[64]int16) {
	var row [8]int32
	busy := int32(0)
	for x := range row {
		row[x] = int32(coef[x] * quant[x] << 2)
		if x > 0 {
			busy |= row[x]
		}
	}
	first := (*[8]byte)(dst)
	if busy == 0 {
		v := sample((row[0] + 16) >> 5)
		*first = [8]byte{v, v, v, v, v, v, v, v}
	} else {
		inverseRow(first, &row)
	}
	for y := 1; y < 8; y++ {
		*(*[8]byte)(dst[y*stride:]) = *first
	}
}

func inverseRow(dst *[8]byte, row *[8]int32) {
	const half, shift = 1 << 17, 18
	y0, y1, y2, y3, y4, y5, y6, y7 := inverse8(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
	dst[0] = sample((y0 + half) >> shift)
	dst[1] = sample((y1 + half) >> shift)
	dst[2] = sample((y2 + half) >> shift)
	dst[3] = sample((y3 + half) >> shift)
	dst[4] = sample((y4 + half) >> shift)
	dst[5] = sample((y5 + half) >> shift)
	dst[6] = sample((y6 + half) >> shift)
	dst[7] = sample((y7 + half) >> shift)
}

// inverse8 is the one-dimensional transform of eight 16-bit numbers, times 2√2
// and with 13 more bits of fraction.
func inverse8(x0, x1, x2, x3, x4, x5, x6, x7 int32) (y0, y1, y2, y3, y4, y5, y6, y7 int32) {
	// The even part: a butterfly and a rotation.
	z := (x2 + x6) * fix0541
	e2, e3 := z-x6*fix1847, z+x2*fix0765
	e0, e1 := int32(int16(x0+x4))<<13, int32(int16(x0-x4))<<13
	a0, a1, a2, a3 := e0+e3, e1+e2, e1-e2, e0-e3

	// The odd part, figure 8 of the paper.
	z3, z4 := int32(int16(x7+x3)), int32(int16(x5+x1))
	z5 := (z3 + z4) * fix1175
	z1, z2 := (x7+x1)*-fix0899, (x5+x3)*-fix2562
	z3, z4 = z3*-fix1961+z5, z4*-fix0390+z5
	b3 := x7*fix0298 + z1 + z3
	b2 := x5*fix2053 + z2 + z4
	b1 := x3*fix3072 + z2 + z3
	b0 := x1*fix1501 + z1 + z4

	return a0 + b0, a1 + b1, a2 + b2, a3 + b3, a3 - b3, a2 - b2, a1 - b1, a0 - b0
}

// saturate brings v into the range of 16 bits.
func saturate(v int32) int32 {
	return min(max(v, -1<<15), 1<<15-1)
}

// sample is a result of the transform as a sample, which has zero at 128.
func sample(v int32) byte {
	return byte(min(max(v, -128), 127) + 128)
}
