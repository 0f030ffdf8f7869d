package preprocess

import "bytes"

// converter returns the function that makes RGB of a row of packed samples. dst
// says how many pixels there are. Of 16-bit samples the high byte counts.
func (p *pngFile) converter() func(dst, src []byte) {
	step := 1
	if p.depth == 16 {
		step = 2
	}
	switch {
	case p.color == pngGray && p.depth == 16:
		return p.gray16
	case p.color == pngGray || p.color == pngPalette:
		table := p.colors()
		return indexed(&table, uint(p.depth))
	case p.color == pngRGB:
		return p.rgb(step)
	case p.color == pngGrayAlpha:
		return func(dst, src []byte) {
			for ; len(dst) > 0; dst, src = dst[3:], src[2*step:] {
				v := overWhite(src[0], src[step])
				dst[0], dst[1], dst[2] = v, v, v
			}
		}
	}
	return func(dst, src []byte) {
		for ; len(dst) > 0; dst, src = dst[3:], src[4*step:] {
			a := src[3*step]
			dst[0], dst[1], dst[2] = overWhite(src[0], a), overWhite(src[step], a), overWhite(src[2*step], a)
		}
	}
}

// gray16 converts 16-bit gray.
func (p *pngFile) gray16(dst, src []byte) {
	_, keyed := p.key()
	for ; len(dst) > 0; dst, src = dst[3:], src[2:] {
		v := src[0]
		if keyed && bytes.Equal(src[:2], p.transparency[:2]) {
			v = 255
		}
		dst[0], dst[1], dst[2] = v, v, v
	}
}

// rgb returns the function that converts colors whose samples are step bytes
// apart.
func (p *pngFile) rgb(step int) func(dst, src []byte) {
	key, keyed := p.key()
	return func(dst, src []byte) {
		for ; len(dst) > 0; dst, src = dst[3:], src[3*step:] {
			c := [3]byte{src[0], src[step], src[2*step]}
			if keyed && c == key {
				c = [3]byte{255, 255, 255}
			}
			dst[0], dst[1], dst[2] = c[0], c[1], c[2]
		}
	}
}

// key returns the color that is transparent, as Pillow compares it: of each
// sample in the file the low byte, with samples of 8 bits.
func (p *pngFile) key() (key [3]byte, ok bool) {
	t := p.transparency
	switch {
	case p.color == pngGray && len(t) >= 2:
		v := t[1]
		if p.depth == 1 && (t[0]|t[1]) != 0 {
			v = 255
		}
		return [3]byte{v, v, v}, true
	case p.color == pngRGB && len(t) >= 6:
		return [3]byte{t[1], t[3], t[5]}, true
	}
	return key, false
}

// colors returns what each sample of up to 8 bits looks like over white.
func (p *pngFile) colors() (table [256][3]byte) {
	if p.color == pngGray {
		key, keyed := p.key()
		most := 1<<p.depth - 1
		for i := range most + 1 {
			v := byte(i * 255 / most)
			if keyed && v == key[0] {
				v = 255
			}
			table[i] = [3]byte{v, v, v}
		}
		return table
	}
	for i := range table {
		c, alpha := [3]byte{}, byte(255)
		if 3*i+3 <= len(p.palette) {
			c = [3]byte(p.palette[3*i:])
		}
		if i < len(p.transparency) {
			alpha = p.transparency[i]
		}
		for j, v := range c {
			table[i][j] = overWhite(v, alpha)
		}
	}
	return table
}
