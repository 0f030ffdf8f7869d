package jpeg

// sequential decodes a block of a baseline or extended sequential file (T.81,
// F.2.2).
func (r *bitReader) sequential(c *component, b *[64]int16) {
	if size := r.symbol(c.dc); size > 0 {
		c.pred += extend(r.bits(size), size)
	}
	b[0] = int16(c.pred)
	ac := c.ac
	acc, left := r.acc, r.left
	for k := 1; k < 64; k++ {
		if left < 32 {
			acc, left = r.fill(acc, left)
		}
		look := acc >> (64 - lookBits)
		if e := ac.short[look]; e != 0 {
			acc <<= e & 63
			left -= int(e & 63)
			k += int(e >> 8 & 15)
			if k > 63 {
				r.bad++
			}
			b[zigzag[k&127]] = int16(e >> 16)
			continue
		}
		symbol, length := byte(0), 0
		if e := ac.look[look]; e != 0 {
			symbol, length = byte(e), int(e>>8)
		} else if symbol, length = ac.long(acc); length == badCode {
			r.bad++
		}
		acc <<= length & 63
		left -= length
		run, size := int(symbol>>4), int(symbol&15)
		if size == 0 {
			if run < 15 {
				if run > 0 { // only progressive files have them
					r.bad++
				}
				break
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			r.bad++
		}
		b[zigzag[k&127]] = int16(extend(int32(acc>>((64-size)&63)), size))
		acc <<= size & 63
		left -= size
	}
	r.acc, r.left = acc, left
}
