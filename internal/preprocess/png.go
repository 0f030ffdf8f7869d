package preprocess

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// maxDeflate is the most bytes that one byte of deflate can stand for.
const maxDeflate = 1032

// pngBuffer is how much of a chunk Pillow hands to zlib at once. A checksum that
// lies in a later buffer than the last sample is never looked at.
const pngBuffer = 65536

// pngChannels gives samples per pixel by IHDR color type.
var pngChannels = map[byte]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

// pngFile is a PNG file taken apart into its chunks. It reads what libpng and
// Pillow read: chunks that are misplaced, unknown or broken but not needed are
// passed over.
type pngFile struct {
	w, h         int
	depth, color byte
	interlaced   bool
	x, y, fw, fh int // of the data in the picture: an APNG's first frame may be smaller
	palette      []byte
	transparency []byte // tRNS as it is stored
	animated     bool
	data         [][]byte // of the IDAT chunks
	meta         metadata
	warnings     []string
}

func decodePNG(data []byte, lim Limits) (*RGB, error) {
	p := &pngFile{}
	if err := p.parse(data, lim); err != nil {
		return nil, err
	}
	img := newRGB(p.w, p.h)
	d := newPNGDecoder(p)
	short, err := d.decode(img)
	if err != nil {
		return nil, err
	}
	if short {
		p.warn("the image data ends early: the lines that are missing are empty")
	}
	img.Warnings = p.warnings
	return orient(img, p.meta.orientation()), nil
}

func (p *pngFile) warn(text string) { p.warnings = append(p.warnings, text) }

// parse walks over all chunks and checks the size that the header claims against
// lim and against the data that is there.
func (p *pngFile) parse(data []byte, lim Limits) error {
	rest := data[8:]
	for p.data == nil {
		next, err := p.chunkBefore(rest)
		if err != nil {
			return err
		}
		rest = next
	}
	if p.w == 0 && p.h == 0 {
		return errors.New("there is no header before the image data")
	}
	if err := checkSize(p.w, p.h, lim, int64(len(data)), 0); err != nil {
		return err // before the products below, which it bounds
	}
	if p.fw == 0 {
		p.fw, p.fh = p.w, p.h
	}
	var size int64
	for _, part := range p.data {
		size += int64(len(part))
	}
	bits := int64(p.fw) * int64(p.fh) * int64(p.bitsPerPixel())
	if err := checkSize(p.fw, p.fh, lim, size, bits/8/maxDeflate); err != nil {
		return err
	}
	if p.fw != p.w || p.fh != p.h { // the rest of the picture is empty
		if err := checkCanvas(p.w, p.h, len(data)); err != nil {
			return err
		}
	}
	p.chunksAfter(rest)
	return nil
}

func (p *pngFile) bitsPerPixel() int { return int(p.depth) * pngChannels[p.color] }

// chunkBefore takes the first chunk of rest and, where it is image data, all the
// chunks of it that follow.
func (p *pngFile) chunkBefore(rest []byte) (next []byte, err error) {
	if len(rest) < 8 {
		return nil, errTruncated
	}
	n, id := int64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
	if !isPNGChunk(id) {
		return nil, fmt.Errorf("no chunk can be called %q", id)
	}
	if id == "IDAT" {
		return p.imageData(rest), nil
	}
	if n > int64(len(rest))-12 {
		return nil, errTruncated
	}
	body, next := rest[8:8+n], rest[12+n:]
	if crc32.ChecksumIEEE(rest[4:8+n]) != binary.BigEndian.Uint32(rest[8+n:]) {
		if id[0]&0x20 == 0 {
			return nil, fmt.Errorf("the checksum of the %s chunk is wrong", id)
		}
		p.warn(fmt.Sprintf("the checksum of the %s chunk is wrong: it is ignored", id))
		return next, nil
	}
	switch id {
	case "CgBI":
		return nil, fmt.Errorf("%w: a PNG changed for iPhones (CgBI): `pngcrush -revert-iphone-optimizations in.png out.png` changes it back", ErrUnsupported)
	case "IHDR":
		return next, p.header(body)
	case "IEND":
		return nil, fmt.Errorf("there is no image data in it")
	case "PLTE":
		p.palette = body
	case "acTL":
		p.animated = len(body) >= 8 && binary.BigEndian.Uint32(body) > 0
	case "fcTL":
		p.frame(body)
	default:
		p.ancillary(id, body)
	}
	return next, nil
}

// imageData takes the IDAT chunks at the beginning of rest. Neither their
// checksums nor the end of the last one need be there.
func (p *pngFile) imageData(rest []byte) (next []byte) {
	wrong := false
	for len(rest) >= 8 {
		if id := string(rest[4:8]); id != "IDAT" {
			break
		}
		n := min(int64(binary.BigEndian.Uint32(rest)), int64(len(rest))-8)
		p.data = append(p.data, rest[8:8+n])
		if sum := rest[8+n:]; len(sum) >= 4 && crc32.ChecksumIEEE(rest[4:8+n]) != binary.BigEndian.Uint32(sum) {
			wrong = true
		}
		rest = rest[min(12+n, int64(len(rest))):]
	}
	if wrong {
		p.warn("the checksum of an IDAT chunk is wrong: it is ignored")
	}
	return rest
}

// chunksAfter takes what follows the image data, which no picture fails for.
func (p *pngFile) chunksAfter(rest []byte) {
	for len(rest) >= 8 && isPNGChunk(string(rest[4:8])) {
		n, id := int64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		if id == "IEND" || id == "fcTL" && p.animated {
			return
		}
		if n > int64(len(rest))-8 {
			break
		}
		p.ancillary(id, rest[8:8+n])
		rest = rest[min(12+n, int64(len(rest))):]
	}
	p.warn("the end of the file is missing")
}

// ancillary takes a chunk that may stand anywhere.
func (p *pngFile) ancillary(id string, body []byte) {
	switch id {
	case "tRNS":
		p.transparency = body
	case "eXIf":
		p.meta.exif = body
	case "tEXt", "zTXt", "iTXt":
		p.meta.pngText(id, body)
	}
}

func (p *pngFile) header(b []byte) error {
	if len(b) < 13 {
		return errors.New("the header is too short")
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w > 1<<31-1 || h > 1<<31-1 {
		return fmt.Errorf("%w: %d×%d pixels", ErrTooLarge, w, h)
	}
	p.w, p.h, p.depth, p.color, p.interlaced = int(w), int(h), b[8], b[9], b[12] != 0
	ok := false
	switch p.color {
	case 0:
		ok = p.depth == 1 || p.depth == 2 || p.depth == 4 || p.depth == 8 || p.depth == 16
	case 3:
		ok = p.depth == 1 || p.depth == 2 || p.depth == 4 || p.depth == 8
	case 2, 4, 6:
		ok = p.depth == 8 || p.depth == 16
	}
	if !ok {
		return fmt.Errorf("color type %d with %d bits a sample", p.color, p.depth)
	}
	if b[11] != 0 {
		return fmt.Errorf("unknown filter method %d", b[11])
	}
	return nil
}

// frame takes the place of an APNG's first frame if the image data is one.
func (p *pngFile) frame(b []byte) {
	if len(b) < 26 {
		return
	}
	u32 := func(at int) int64 { return int64(binary.BigEndian.Uint32(b[at:])) }
	w, h, x, y := u32(4), u32(8), u32(12), u32(16)
	if w == 0 || h == 0 || x+w > int64(p.w) || y+h > int64(p.h) {
		p.warn("the first frame lies outside of the picture")
		return
	}
	p.x, p.y, p.fw, p.fh = int(x), int(y), int(w), int(h)
}

func isPNGChunk(id string) bool {
	for _, c := range []byte(id) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}

// pngData reads the data of IDAT chunks one after the other.
type pngData struct {
	parts  [][]byte
	part   int // the one being read
	at     int // of its bytes
	buffer int // of Pillow's, counted from the beginning of the data
}

// ReadByte implements [io.ByteReader].
func (r *pngData) ReadByte() (byte, error) {
	for r.part < len(r.parts) {
		if p := r.parts[r.part]; r.at < len(p) {
			if r.at&(pngBuffer-1) == 0 {
				r.buffer++
			}
			r.at++
			return p[r.at-1], nil
		}
		r.part++
		r.at = 0
	}
	return 0, io.EOF
}

// Read implements [io.Reader].
func (r *pngData) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if b[n], err = r.ReadByte(); err != nil {
			break
		}
		n++
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

// errAdler says that the image data is not what was compressed.
var errAdler = errors.New("the checksum of the image data is wrong")

// pngDecoder turns image data into RGB, a row at a time.
type pngDecoder struct {
	*pngFile
	in        *pngData
	inflate   io.Reader
	sum       adlerSum
	row, last []byte // a filter byte and packed samples; the row above
	convert   func(dst, src []byte)
	rows      int // read so far
}

type adlerSum interface {
	io.Writer
	Sum32() uint32
}

func newPNGDecoder(p *pngFile) *pngDecoder {
	n := 1 + (p.fw*p.bitsPerPixel()+7)/8
	in := &pngData{parts: p.data}
	return &pngDecoder{
		pngFile: p, in: in, inflate: flate.NewReader(in), sum: adler32.New(),
		row: make([]byte, n), last: make([]byte, n), convert: p.converter(),
	}
}

// decode fills img. short reports whether the data ended, in good order, before
// the picture did.
func (d *pngDecoder) decode(img *RGB) (short bool, err error) {
	if err := d.zlibHeader(); err != nil {
		return false, err
	}
	if d.interlaced || d.fw != d.w || d.fh != d.h {
		d.clear(img, 0)
	}
	if d.interlaced {
		err = d.passes(img)
	} else {
		err = d.lines(img)
	}
	switch {
	case err == io.EOF:
		return true, nil
	case err != nil:
		return false, err
	}
	return false, d.end()
}

func (d *pngDecoder) zlibHeader() error {
	var b [2]byte
	if _, err := io.ReadFull(d.in, b[:]); err != nil {
		return errTruncated
	}
	if b[0]&15 != 8 || b[0]>>4 > 7 || (int(b[0])<<8|int(b[1]))%31 != 0 || b[1]&0x20 != 0 {
		return errors.New("the image data does not begin as zlib's does")
	}
	return nil
}

// clear paints all rows from y on in what samples of zero stand for.
func (d *pngDecoder) clear(img *RGB, y int) {
	clear(d.row)
	zero := make([]byte, 3)
	d.convert(zero, d.row[1:])
	fill(&RGB{Pix: img.Pix[3*img.W*y:]}, [3]byte(zero))
}

// lines reads a picture that is stored from top to bottom. It returns io.EOF
// where the data ends before it does.
func (d *pngDecoder) lines(img *RGB) error {
	for y := range d.fh {
		if err := d.next(len(d.row)); err != nil {
			if err == io.EOF {
				d.clear(img, d.y+y)
			}
			return err
		}
		d.convert(img.Pix[3*((d.y+y)*d.w+d.x):][:3*d.fw], d.row[1:])
	}
	return nil
}

// adam7 are the first pixel and the distance of pixels of each pass.
var adam7 = [7]struct{ x, y, dx, dy int }{
	{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
}

// passes reads an interlaced picture.
func (d *pngDecoder) passes(img *RGB) error {
	line := make([]byte, 3*d.fw)
	for _, p := range adam7 {
		w := (d.fw - p.x + p.dx - 1) / p.dx
		if w <= 0 {
			continue
		}
		clear(d.last)
		for y := p.y; y < d.fh; y += p.dy {
			if err := d.next(1 + (w*d.bitsPerPixel()+7)/8); err != nil {
				return err
			}
			d.convert(line[:3*w], d.row[1:])
			for i := range w {
				copy(img.Pix[3*((d.y+y)*d.w+d.x+p.x+i*p.dx):][:3], line[3*i:])
			}
		}
	}
	return nil
}

// next reads a row of n bytes, its filter byte included, and undoes the filter.
// It returns io.EOF where the data ended with the row before, as it should not.
func (d *pngDecoder) next(n int) error {
	d.row, d.last = d.last[:n], d.row[:n]
	switch got, err := io.ReadFull(d.inflate, d.row); {
	case err == io.EOF && d.rows > 0:
		if d.checksum() == nil {
			return io.EOF
		}
		return errTruncated
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return fmt.Errorf("%w: line %d has %d of %d bytes", errTruncated, d.rows+1, got, n)
	case err != nil:
		return fmt.Errorf("line %d: %w", d.rows+1, err)
	}
	_, _ = d.sum.Write(d.row)
	d.rows++
	return unfilter(d.row, d.last, (d.bitsPerPixel()+7)/8)
}

// end looks at what follows the last row, as zlib does where it is asked for a
// row after the other: surplus data hides the checksum, one that is missing is
// not missed, and a wrong one is an error.
func (d *pngDecoder) end() error {
	n, err := d.inflate.Read(make([]byte, 1))
	switch {
	case n > 0:
		d.warn("surplus image data is ignored")
	case err == io.EOF:
		if err := d.checksum(); err == errAdler {
			return err
		} else if err != nil {
			d.warn("the checksum of the image data is missing")
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		d.warn("the end of the image data is missing")
	case err != nil:
		return fmt.Errorf("after the last line: %w", err)
	}
	return nil
}

// checksum compares the Adler-32 after the data: errAdler, errTruncated if there
// is none, or nil if it is right or out of sight.
func (d *pngDecoder) checksum() error {
	buffer := d.in.buffer
	var b [4]byte
	if _, err := io.ReadFull(d.in, b[:]); err != nil {
		return errTruncated
	}
	if d.in.buffer == buffer && binary.BigEndian.Uint32(b[:]) != d.sum.Sum32() {
		return errAdler
	}
	return nil
}

// unfilter undoes a row's filter (PNG specification, 9.2). bpp is the distance
// to the byte of the pixel before.
func unfilter(row, above []byte, bpp int) error {
	filter, row, above := row[0], row[1:], above[1:]
	switch filter {
	case 0:
	case 1:
		for i := bpp; i < len(row); i++ {
			row[i] += row[i-bpp]
		}
	case 2:
		for i, v := range above {
			row[i] += v
		}
	case 3:
		for i := range min(bpp, len(row)) {
			row[i] += above[i] / 2
		}
		for i := bpp; i < len(row); i++ {
			row[i] += byte((int(row[i-bpp]) + int(above[i])) / 2)
		}
	case 4:
		for i := range min(bpp, len(row)) {
			row[i] += above[i]
		}
		for i := bpp; i < len(row); i++ {
			row[i] += paeth(int(row[i-bpp]), int(above[i]), int(above[i-bpp]))
		}
	default:
		return fmt.Errorf("unknown filter %d", filter)
	}
	return nil
}

// paeth returns the one of left, up and corner that is nearest to left + up −
// corner.
func paeth(left, up, corner int) byte {
	pa, pb := up-corner, left-corner
	pc := pa + pb
	pa, pb, pc = max(pa, -pa), max(pb, -pb), max(pc, -pc)
	switch {
	case pa <= pb && pa <= pc:
		return byte(left)
	case pb <= pc:
		return byte(up)
	}
	return byte(corner)
}

// converter returns the function that makes RGB of a row of packed samples. dst
// says how many pixels there are.
func (p *pngFile) converter() func(dst, src []byte) {
	key, keyed := p.key()
	step := 1 // of 16-bit samples the high byte counts
	if p.depth == 16 {
		step = 2
	}
	switch {
	case p.color == 0 && p.depth == 16:
		return func(dst, src []byte) {
			for ; len(dst) > 0; dst, src = dst[3:], src[2:] {
				v := src[0]
				if keyed && bytes.Equal(src[:2], p.transparency[:2]) {
					v = 255
				}
				dst[0], dst[1], dst[2] = v, v, v
			}
		}
	case p.color == 0 || p.color == 3:
		table := p.colors()
		return indexed(&table, uint(p.depth))
	case p.color == 2:
		return func(dst, src []byte) {
			for ; len(dst) > 0; dst, src = dst[3:], src[3*step:] {
				c := [3]byte{src[0], src[step], src[2*step]}
				if keyed && c == key {
					c = [3]byte{255, 255, 255}
				}
				dst[0], dst[1], dst[2] = c[0], c[1], c[2]
			}
		}
	case p.color == 4:
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

// key returns the color that is transparent, as Pillow compares it: of each
// sample in the file the low byte, with samples of 8 bits.
func (p *pngFile) key() (key [3]byte, ok bool) {
	t := p.transparency
	switch {
	case p.color == 0 && len(t) >= 2:
		v := t[1]
		if p.depth == 1 && (t[0]|t[1]) != 0 {
			v = 255
		}
		return [3]byte{v, v, v}, true
	case p.color == 2 && len(t) >= 6:
		return [3]byte{t[1], t[3], t[5]}, true
	}
	return key, false
}

// colors returns what each sample of up to 8 bits looks like over white.
func (p *pngFile) colors() (table [256][3]byte) {
	if p.color == 0 {
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

// indexed returns the function that looks up samples of depth bits, packed from
// the high end of each byte, in a table.
func indexed(table *[256][3]byte, depth uint) func(dst, src []byte) {
	mask := byte(1<<depth - 1)
	return func(dst, src []byte) {
		for bit := uint(0); len(dst) > 0; dst, bit = dst[3:], bit+depth {
			v := src[bit/8] >> (8 - depth - bit%8) & mask
			dst[0], dst[1], dst[2] = table[v][0], table[v][1], table[v][2]
		}
	}
}
