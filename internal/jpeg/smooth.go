package jpeg

// smoothCoefs is how many coefficients, in coded order, block smoothing looks
// at: DC and the first nine of AC.
const smoothCoefs = 10

// kernel holds the weights of the DC coefficients of the 5 × 5 blocks around one
// from which a coefficient of it is estimated, by rows.
type kernel [25]int16

// coarseKernels estimate the first ten coefficients, DC among them, of blocks
// whose AC coefficients are all unknown (jdcoefct.c of libjpeg-turbo).
var coarseKernels = [smoothCoefs]kernel{
	{
		-2, -6, -8, -6, -2,
		-6, 6, 42, 6, -6,
		-8, 42, 152, 42, -8,
		-6, 6, 42, 6, -6,
		-2, -6, -8, -6, -2,
	},
	{
		-1, -1, 0, 1, 1,
		-3, 13, 0, -13, 3,
		-3, 38, 0, -38, 3,
		-3, 13, 0, -13, 3,
		-1, -1, 0, 1, 1,
	},
	{
		-1, -3, -3, -3, -1,
		-1, 13, 38, 13, -1,
		0, 0, 0, 0, 0,
		1, -13, -38, -13, 1,
		1, 3, 3, 3, 1,
	},
	{
		0, 0, 1, 0, 0,
		0, 2, 7, 2, 0,
		0, -5, -14, -5, 0,
		0, 2, 7, 2, 0,
		0, 0, 1, 0, 0,
	},
	{
		-1, 0, 0, 0, 1,
		0, 9, 0, -9, 0,
		0, 0, 0, 0, 0,
		0, -9, 0, 9, 0,
		1, 0, 0, 0, -1,
	},
	{
		0, 0, 0, 0, 0,
		0, 2, -5, 2, 0,
		1, 7, -14, 7, 1,
		0, 2, -5, 2, 0,
		0, 0, 0, 0, 0,
	},
	{6: 1, 8: -1, 11: 2, 13: -2, 16: 1, 18: -1},
	{6: 1, 7: -3, 8: 1, 16: -1, 17: 3, 18: -1},
	{6: 1, 8: -1, 11: -3, 13: 3, 16: 1, 18: -1},
	{6: 1, 7: 2, 8: 1, 16: -1, 17: -2, 18: -1},
}

// fineKernels estimate the first five AC coefficients, where some are known.
var fineKernels = [smoothCoefs]kernel{
	1: {10: -7, 11: 50, 13: -50, 14: 7},
	2: {2: -7, 7: 50, 17: -50, 22: 7},
	3: {2: -1, 7: 13, 12: -24, 17: 13, 22: -1},
	4: {
		0, -1, 0, 1, 0,
		-1, 10, 0, -10, 1,
		0, 0, 0, 0, 0,
		1, -10, 0, 10, -1,
		0, 1, 0, -1, 0,
	},
	5: {10: -1, 11: 13, 12: -24, 13: 13, 14: -1},
}

// smooths reports whether libjpeg smooths the blocks of the file: it is
// progressive, DC is known of all components, and some of the AC coefficients
// that can be estimated are not known to the last bit.
func (d *Decoder) smooths() bool {
	if !d.progressive {
		return false
	}
	useful := false
	for i := range d.comps {
		c := &d.comps[i]
		if c.quant == nil || c.known[0] < 0 || c.quant[0] == 0 {
			return false
		}
		for k := 1; k < smoothCoefs; k++ {
			if c.quant[zigzag[k]] == 0 {
				return false
			}
			useful = useful || c.known[k] != 0
		}
	}
	return useful
}

// knownAt returns up to which bits the coefficients are known in that row of
// MCUs: below the last one that the last scan has data for it is what was known
// before.
func (d *Decoder) knownAt(c *component, mcuRow int) (known [smoothCoefs]int8) {
	copy(known[:], c.known[:])
	if mcuRow > d.lastGood {
		if d.scanCount > 1 {
			copy(known[:], c.knownBefore[:])
		} else {
			for k := 1; k < smoothCoefs; k++ {
				known[k] = -1
			}
		}
	}
	return known
}

// inverseSmooth transforms the y-th row of blocks of a component to dst. First it
// estimates coefficients that are zero and not known to be.
func (d *Decoder) inverseSmooth(c *component, dst []byte, y int) {
	known := d.knownAt(c, y/c.v)
	coarse := true
	for k := 1; k < smoothCoefs; k++ {
		coarse = coarse && known[k] == -1
	}
	rows := c.rowsAround(y, d.mcusY)
	for x := range c.wide {
		b := *(*[64]int16)(rows[2][64*x:])
		var dc [25]int16
		for i := range dc {
			dc[i] = rows[i/5][64*min(max(x+i%5-2, 0), c.wide-1)]
		}
		c.estimate(&b, &dc, &known, coarse)
		inverseDCT(dst[8*x:], c.out.stride, &b, c.quant)
	}
}

// rowsAround returns the row y of blocks and two on each side. As in libjpeg, the
// rows of blocks that fill the last MCU up count below the picture, and in the
// last row of MCUs the picture begins later if it has fewer rows of blocks.
func (c *component) rowsAround(y, mcusY int) (rows [5][]int16) {
	perMCU := c.v
	if y/c.v == mcusY-1 {
		perMCU = c.high - (mcusY-1)*c.v
	}
	place := y/c.v*perMCU + y%c.v
	row := func(y int) []int16 { return c.coef[64*c.stride*y:] }
	rows[2] = row(y)
	rows[1], rows[3] = rows[2], rows[2]
	if place > 0 {
		rows[1] = row(y - 1)
	}
	rows[0] = rows[1]
	if place > 1 {
		rows[0] = row(y - 2)
	}
	if place < perMCU*mcusY-1 {
		rows[3] = row(y + 1)
	}
	rows[4] = rows[3]
	if place < perMCU*mcusY-2 {
		rows[4] = row(y + 2)
	}
	return rows
}

// estimate sets coefficients of a block that are zero and not fully known to what
// the DC coefficients around suggest.
func (c *component) estimate(b *[64]int16, dc *[25]int16, known *[smoothCoefs]int8, coarse bool) {
	kernels, n := &fineKernels, 6
	if coarse {
		kernels, n = &coarseKernels, smoothCoefs
	}
	for k := 1; k < n; k++ {
		if bit := known[k]; bit != 0 && b[zigzag[k]] == 0 {
			v := kernels[k].apply(dc, c.quant, int(zigzag[k]))
			if most := int64(1)<<max(bit, 0) - 1; bit > 0 {
				v = min(max(v, -most), most)
			}
			b[zigzag[k]] = int16(v)
		}
	}
	if coarse {
		b[0] = int16(kernels[0].apply(dc, c.quant, 0))
	}
}

// apply returns the estimate of the coefficient at that place.
func (k *kernel) apply(dc *[25]int16, quant *[64]int16, place int) int64 {
	sum := int64(0)
	for i, w := range k {
		sum += int64(w) * int64(dc[i])
	}
	sum *= int64(uint16(quant[0]))
	q := int64(uint16(quant[place]))
	if sum < 0 {
		return -((q<<7 - sum) / (q << 8))
	}
	return (q<<7 + sum) / (q << 8)
}
