package jpeg

// coding is the arithmetic coding of a file (T.81, annex D), as DAC segments
// condition it.
type coding struct {
	arithmetic   bool
	lower, upper [16]byte // bounds of small differences of DC, by table
	split        [16]byte // the last of the low AC coefficients, by table
}

// reset sets what holds without DAC segments.
func (c *coding) reset() {
	for i := range c.split {
		c.lower[i], c.upper[i], c.split[i] = 0, 1, 5
	}
}

// conditioning reads a DAC segment (T.81, B.2.4.3).
func (c *coding) conditioning(body []byte) {
	for ; len(body) >= 2; body = body[2:] {
		switch table, value := body[0], body[1]; {
		case table < 16:
			c.lower[table], c.upper[table] = value&15, value>>4
		case table < 32:
			c.split[table-16] = value
		}
	}
}

// probability is a state of the estimation of a decision's probability.
type probability struct {
	size     uint16 // of the interval of the less probable symbol, Qe
	nextLess byte   // the state after the less probable symbol
	nextMore byte
	swap     byte // the less probable symbol becomes the more probable one
}

// probabilities is table D.3 of T.81, and the state of a decision whose symbols
// have the same probability, always.
var probabilities = [128]probability{
	{0x5a1d, 1, 1, 1}, {0x2586, 14, 2, 0}, {0x1114, 16, 3, 0}, {0x080b, 18, 4, 0},
	{0x03d8, 20, 5, 0}, {0x01da, 23, 6, 0}, {0x00e5, 25, 7, 0}, {0x006f, 28, 8, 0},
	{0x0036, 30, 9, 0}, {0x001a, 33, 10, 0}, {0x000d, 35, 11, 0}, {0x0006, 9, 12, 0},
	{0x0003, 10, 13, 0}, {0x0001, 12, 13, 0}, {0x5a7f, 15, 15, 1}, {0x3f25, 36, 16, 0},
	{0x2cf2, 38, 17, 0}, {0x207c, 39, 18, 0}, {0x17b9, 40, 19, 0}, {0x1182, 42, 20, 0},
	{0x0cef, 43, 21, 0}, {0x09a1, 45, 22, 0}, {0x072f, 46, 23, 0}, {0x055c, 48, 24, 0},
	{0x0406, 49, 25, 0}, {0x0303, 51, 26, 0}, {0x0240, 52, 27, 0}, {0x01b1, 54, 28, 0},
	{0x0144, 56, 29, 0}, {0x00f5, 57, 30, 0}, {0x00b7, 59, 31, 0}, {0x008a, 60, 32, 0},
	{0x0068, 62, 33, 0}, {0x004e, 63, 34, 0}, {0x003b, 32, 35, 0}, {0x002c, 33, 9, 0},
	{0x5ae1, 37, 37, 1}, {0x484c, 64, 38, 0}, {0x3a0d, 65, 39, 0}, {0x2ef1, 67, 40, 0},
	{0x261f, 68, 41, 0}, {0x1f33, 69, 42, 0}, {0x19a8, 70, 43, 0}, {0x1518, 72, 44, 0},
	{0x1177, 73, 45, 0}, {0x0e74, 74, 46, 0}, {0x0bfb, 75, 47, 0}, {0x09f8, 77, 48, 0},
	{0x0861, 78, 49, 0}, {0x0706, 79, 50, 0}, {0x05cd, 48, 51, 0}, {0x04de, 50, 52, 0},
	{0x040f, 50, 53, 0}, {0x0363, 51, 54, 0}, {0x02d4, 52, 55, 0}, {0x025c, 53, 56, 0},
	{0x01f8, 54, 57, 0}, {0x01a4, 55, 58, 0}, {0x0160, 56, 59, 0}, {0x0125, 57, 60, 0},
	{0x00f6, 58, 61, 0}, {0x00cb, 59, 62, 0}, {0x00ab, 61, 63, 0}, {0x008f, 61, 32, 0},
	{0x5b12, 65, 65, 1}, {0x4d04, 80, 66, 0}, {0x412c, 81, 67, 0}, {0x37d8, 82, 68, 0},
	{0x2fe8, 83, 69, 0}, {0x293c, 84, 70, 0}, {0x2379, 86, 71, 0}, {0x1edf, 87, 72, 0},
	{0x1aa9, 87, 73, 0}, {0x174e, 72, 74, 0}, {0x1424, 72, 75, 0}, {0x119c, 74, 76, 0},
	{0x0f6b, 74, 77, 0}, {0x0d51, 75, 78, 0}, {0x0bb6, 77, 79, 0}, {0x0a40, 77, 48, 0},
	{0x5832, 80, 81, 1}, {0x4d1c, 88, 82, 0}, {0x438e, 89, 83, 0}, {0x3bdd, 90, 84, 0},
	{0x34ee, 91, 85, 0}, {0x2eae, 92, 86, 0}, {0x299a, 93, 87, 0}, {0x2516, 86, 71, 0},
	{0x5570, 88, 89, 1}, {0x4ca9, 95, 90, 0}, {0x44d9, 96, 91, 0}, {0x3e22, 97, 92, 0},
	{0x3824, 99, 93, 0}, {0x32b4, 99, 94, 0}, {0x2e17, 93, 86, 0}, {0x56a8, 95, 96, 1},
	{0x4f46, 101, 97, 0}, {0x47e5, 102, 98, 0}, {0x41cf, 103, 99, 0}, {0x3c3d, 104, 100, 0},
	{0x375e, 99, 93, 0}, {0x5231, 105, 102, 0}, {0x4c0f, 106, 103, 0}, {0x4639, 107, 104, 0},
	{0x415e, 103, 99, 0}, {0x5627, 105, 106, 1}, {0x50e7, 108, 107, 0}, {0x4b85, 109, 103, 0},
	{0x5597, 110, 109, 0}, {0x504f, 111, 107, 0}, {0x5a10, 110, 111, 1}, {0x5522, 112, 109, 0},
	{0x59eb, 112, 111, 1}, {0x5a1d, 113, 113, 0},
}

// evenOdds is that state.
const evenOdds = 113

// arithReader decodes the data of a scan (T.81, D.2). Statistics are a state of
// probabilities and, in the top bit, the more probable symbol.
type arithReader struct {
	*bitReader
	*coding
	scan
	base  int64 // the code above the interval's base, and the bits shifted in
	width int64 // of the interval
	shift int   // bits of base below the code; negative before the first two bytes
	even  byte
	dead  bool // there was an impossible value: nothing more until a restart
	dc    [16][64]byte
	ac    [16][256]byte
}

// begin starts a segment of a scan.
func (a *arithReader) begin() {
	a.base, a.width, a.shift, a.even, a.dead = 0, 0, -16, evenOdds, false
	a.dc, a.ac = [16][64]byte{}, [16][256]byte{}
	for _, c := range a.components {
		c.pred, c.context = 0, 0
	}
}

// decoder returns the function that decodes a block.
func (a *arithReader) decoder(progressive bool) func(*component, *[64]int16) {
	live := func(decode func(*component, *[64]int16)) func(*component, *[64]int16) {
		return func(c *component, b *[64]int16) {
			if !a.dead {
				decode(c, b)
			}
		}
	}
	switch {
	case !progressive:
		return live(func(c *component, b *[64]int16) {
			if a.firstDC(c, b); !a.dead {
				a.firstAC(c, b, 1, 63, 0)
			}
		})
	case a.first == 0 && a.high == 0:
		return live(a.firstDC)
	case a.first == 0:
		return a.refineDC
	case a.high == 0:
		return live(func(c *component, b *[64]int16) { a.firstAC(c, b, a.first, a.last, a.low) })
	default:
		return live(a.refineAC)
	}
}

// next reads a byte; after a marker there are zeros.
func (a *arithReader) next() int64 {
	if a.marker {
		return 0
	}
	i := a.pos
	for i < len(a.data) && a.data[i] == 0xFF {
		i++
	}
	switch {
	case i == len(a.data):
		a.marker, a.end, a.left = true, true, -1 // for the caller to see
		return 0
	case i == a.pos:
		a.pos++
		return int64(a.data[i])
	case a.data[i] == 0:
		a.pos = i + 1
		return 0xFF
	default:
		a.marker = true
		return 0
	}
}

// bit decodes a decision with those statistics.
func (a *arithReader) bit(stats *byte) int {
	for a.width < 0x8000 {
		if a.shift--; a.shift < 0 {
			a.base = a.base<<8 | a.next()
			if a.shift += 8; a.shift < 0 {
				if a.shift++; a.shift == 0 { // the first two bytes are there
					a.width = 0x8000
				}
			}
		}
		a.width <<= 1
	}
	state := *stats
	p := &probabilities[state&0x7F]
	size := int64(p.size)
	a.width -= size
	limit := a.width << max(a.shift, 0)
	less := a.base >= limit // in the interval of the less probable symbol
	if less {
		a.base -= limit
	} else if a.width >= 0x8000 {
		return int(state >> 7)
	}
	exchanged := a.width < size
	if less {
		a.width = size
	}
	if less == exchanged {
		*stats = state&0x80 | p.nextMore
		return int(state >> 7)
	}
	*stats = state&0x80 ^ (p.swap<<7 | p.nextLess)
	return int(state>>7) ^ 1
}

// magnitude decodes how large a value is (T.81, figure F.23), as the highest bit of
// the value less one; from is the place of the first of the statistics for sizes
// from that of size on. It returns the place of the last of them.
func (a *arithReader) magnitude(stats []byte, from, size int) (int, int) {
	for a.bit(&stats[from]) == 1 {
		if size <<= 1; size == 0x8000 {
			a.dead = true
			a.bad++
			break
		}
		from++
	}
	return size, from
}

// value decodes the bits of a value below the highest one (figure F.24).
func (a *arithReader) value(stats []byte, at, size, sign int) int32 {
	v := size
	for bit := size >> 1; bit > 0; bit >>= 1 {
		if a.bit(&stats[at+14]) == 1 {
			v |= bit
		}
	}
	if sign == 1 {
		return int32(-v - 1)
	}
	return int32(v + 1)
}

// firstDC decodes a DC coefficient, down to bit a.low (T.81, F.1.4.4.1).
func (a *arithReader) firstDC(c *component, b *[64]int16) {
	stats := a.dc[c.dcTable][:]
	at := c.context
	if a.bit(&stats[at]) == 0 {
		c.context = 0
	} else {
		sign := a.bit(&stats[at+1])
		at += 2 + sign
		size := a.bit(&stats[at])
		if size == 1 {
			if size, at = a.magnitude(stats, 20, size); a.dead {
				return
			}
		}
		switch {
		case size < 1<<a.lower[c.dcTable]>>1:
			c.context = 0
		case size > 1<<a.upper[c.dcTable]>>1:
			c.context = 12 + 4*sign
		default:
			c.context = 4 + 4*sign
		}
		c.pred = (c.pred + a.value(stats, at, size, sign)) & 0xFFFF
	}
	b[0] = int16(c.pred << a.low)
}

// firstAC decodes the AC coefficients from first to last, down to bit low (T.81,
// F.1.4.4.2).
func (a *arithReader) firstAC(c *component, b *[64]int16, first, last, low int) {
	stats := a.ac[c.acTable][:]
	for k := first; k <= last; k++ {
		at := 3 * (k - 1)
		if a.bit(&stats[at]) == 1 { // the end of the block
			return
		}
		for a.bit(&stats[at+1]) == 0 {
			at += 3
			if k++; k > last {
				a.dead = true
				a.bad++
				return
			}
		}
		sign := a.bit(&a.even)
		at += 2
		size := a.bit(&stats[at])
		if size == 1 && a.bit(&stats[at]) == 1 {
			at = 217
			if k <= int(a.split[c.acTable]) {
				at = 189
			}
			if size, at = a.magnitude(stats, at, 2); a.dead {
				return
			}
		}
		b[zigzag[k&127]] = int16(a.value(stats, at, size, sign) << low)
	}
}

// refineDC reads one more bit of a DC coefficient.
func (a *arithReader) refineDC(_ *component, b *[64]int16) {
	b[0] |= int16(a.bit(&a.even) << a.low)
}

// refineAC reads one more bit of a band of AC coefficients (T.81, G.1.3.3).
func (a *arithReader) refineAC(c *component, b *[64]int16) {
	stats := a.ac[c.acTable][:]
	known := a.last // the last coefficient that is not zero
	for known > 0 && b[zigzag[known&127]] == 0 {
		known--
	}
	bit := int16(1) << a.low
	for k := a.first; k <= a.last; k++ {
		at := 3 * (k - 1)
		if k > known && a.bit(&stats[at]) == 1 {
			return
		}
		for !a.refine(&b[zigzag[k&127]], stats[at:], bit) {
			at += 3
			if k++; k > a.last {
				a.dead = true
				a.bad++
				return
			}
		}
	}
}

// refine refines a coefficient, and reports whether it is not zero then.
func (a *arithReader) refine(c *int16, stats []byte, bit int16) bool {
	switch {
	case *c != 0:
		if a.bit(&stats[2]) == 0 {
			break
		}
		if *c < 0 {
			*c -= bit
		} else {
			*c += bit
		}
	case a.bit(&stats[1]) == 0:
		return false
	case a.bit(&a.even) == 1:
		*c = -bit
	default:
		*c = bit
	}
	return true
}
