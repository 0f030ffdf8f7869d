package jpeg

// firstDC decodes the DC coefficient of a block, down to bit low (T.81, G.1.2).
func (r *bitReader) firstDC(c *component, b *[64]int16, low int) {
	if size := r.symbol(c.dc); size > 0 {
		sum := int64(c.pred) + int64(extend(r.bits(size), size))
		c.pred = int32(sum)
		r.overflow = r.overflow || int64(c.pred) != sum
	}
	b[0] = int16(c.pred << low)
}

// refineDC reads one more bit of a DC coefficient.
func (r *bitReader) refineDC(b *[64]int16, low int) {
	b[0] |= int16(r.bits(1) << low)
}

// firstAC decodes a band of a block's AC coefficients, down to bit s.low.
func (r *bitReader) firstAC(ac *huffman, b *[64]int16, s scan) {
	if r.emptyBands > 0 {
		r.emptyBands--
		return
	}
	for k := s.first; k <= s.last; k++ {
		symbol := r.symbol(ac)
		run, size := symbol>>4, symbol&15
		if size == 0 {
			if run < 15 {
				r.emptyBands = r.bandRun(run) - 1
				return
			}
			k += 15
			continue
		}
		if k += run; k > s.last {
			r.bad++
		}
		b[zigzag[k&127]] = int16(extend(r.bits(size), size) << s.low)
	}
}

// bandRun reads for how many blocks, this one included, a band holds nothing
// more.
func (r *bitReader) bandRun(size int) int {
	n := 1 << size
	if size > 0 {
		n += int(r.bits(size))
	}
	return n
}

// refineAC reads one more bit, that at s.low, of a band of a block's AC
// coefficients (T.81, figure G.7): codes give the coefficients that are ±1 from
// here on, each after a run of zeros; between them is a bit for every
// coefficient that was not zero before.
func (r *bitReader) refineAC(ac *huffman, b *[64]int16, s scan) {
	k := s.first
	for r.emptyBands == 0 {
		if k > s.last {
			return
		}
		symbol := r.symbol(ac)
		run, value := symbol>>4, int16(0)
		if symbol&15 != 0 {
			value = -1 << s.low
			if r.bits(1) == 1 {
				value = 1 << s.low
			}
		} else if run < 15 {
			r.emptyBands = r.bandRun(run)
			break
		}
		k = r.correct(b, k, run, s)
		if value != 0 {
			if k > s.last {
				r.bad++
			}
			b[zigzag[k&127]] = value
		}
		k++
	}
	r.correct(b, k, 64, s)
	r.emptyBands--
}

// correct reads a bit for each coefficient from k on that is not zero, up to
// the zero that comes after that many others, and returns where that is; or
// s.last+1. As in libjpeg, a correction that is there already (in damaged files)
// is not made again.
func (r *bitReader) correct(b *[64]int16, k, zeros int, s scan) int {
	bit := int16(1) << s.low
	for ; k <= s.last; k++ {
		c := &b[zigzag[k&127]]
		switch {
		case *c == 0:
			if zeros == 0 {
				return k
			}
			zeros--
		case r.bits(1) == 0 || *c&bit != 0:
		case *c > 0:
			*c += bit
		default:
			*c -= bit
		}
	}
	return k
}
