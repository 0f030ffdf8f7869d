package preprocess

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
)

// pngBuffer is how much of a chunk Pillow hands to zlib at once. A checksum that
// lies in a later buffer than the last sample is never looked at.
const pngBuffer = 65536

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
		clear(d.row[:cap(d.row)]) // next takes it for the row above
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
