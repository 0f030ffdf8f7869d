package preprocess

import (
	"errors"
	"fmt"
	"paligemma/internal/parallel"
	"runtime"
)

// blocks is the state of one component.
type blocks struct {
	jpegComponent
	out          plane
	wide, high   int        // in blocks, what belongs to the picture
	stride, rows int        // in blocks, with what fills the last MCU up
	coef         []int16    // [rows][stride][64], blocks in natural order; nil when streamed
	quant        *[64]int16 // of the component's first scan

	// Of the present scan.
	dcTable, acTable byte
	dc, ac           *huffman
	pred             int32   // the last DC coefficient
	context          int     // of the DC coefficient, in arithmetic coding
	row              []int16 // the present row of MCUs: [v or 1][stride][64]

	// Of a progressive file: up to which bit the coefficients are known, in coded
	// order, -1 for not at all; and before the component's last scan.
	known       [64]int8
	knownBefore [64]int8
}

// block is the block in that column and row of the present row of MCUs.
func (c *blocks) block(x, y int) *[64]int16 {
	return (*[64]int16)(c.row[64*(y*c.stride+x):])
}

// jpegDecoder decodes a file from start to end.
type jpegDecoder struct {
	jpegHeader
	jpegTables
	coding
	data         []byte
	pos          int
	mcusX, mcusY int // of a scan of all components
	comps        []blocks
	scanCount    int
	lastGood     int // the last row of MCUs that the last scan has data for
	smoothing    bool
	damage       jpegDamage
}

// layOut lays the components out.
func (d *jpegDecoder) layOut() error {
	hMax, vMax := 1, 1
	for _, c := range d.components {
		hMax, vMax = max(hMax, c.h), max(vMax, c.v)
	}
	d.mcusX, d.mcusY = ceilDiv(d.w, 8*hMax), ceilDiv(d.h, 8*vMax)
	for _, c := range d.components {
		if hMax%c.h != 0 || vMax%c.v != 0 { // libjpeg refuses them too
			return fmt.Errorf("%w: sampling factors %d×%d of %d×%d", ErrUnsupported, c.h, c.v, hMax, vMax)
		}
		p := plane{hx: hMax / c.h, vx: vMax / c.v}
		p.w, p.h = ceilDiv(d.w, p.hx), ceilDiv(d.h, p.vx)
		b := blocks{jpegComponent: c, wide: ceilDiv(p.w, 8), high: ceilDiv(p.h, 8), stride: d.mcusX * c.h, rows: d.mcusY * c.v}
		p.stride = 8 * b.wide
		b.out = p
		for i := range b.known {
			b.known[i] = -1
		}
		d.comps = append(d.comps, b)
	}
	return nil
}

func ceilDiv(a, b int) int {
	return (a + b - 1) / b
}

// decode decodes the scans of a file that [openJPEG] has opened, and gives the
// picture to sink.
func (d *jpegDecoder) decode(sink rowSink) error {
	marker, err := d.next()
	if err != nil || marker != markerSOS {
		return err // never another one
	}
	s, err := d.scanHeader()
	if err != nil {
		return err
	}
	if !d.progressive && len(s.components) == len(d.comps) {
		if err := d.stream(s, sink); err != nil {
			return err
		}
		return d.trailer()
	}
	if err := d.scans(s); err != nil {
		return err
	}
	return d.output(sink)
}

// trailer reads what follows the only scan of a file. The picture is complete, so
// the file may end before an end marker.
func (d *jpegDecoder) trailer() error {
	for {
		marker, err := d.next()
		switch {
		case err != nil:
		case marker == markerEOI:
			return nil
		case marker == markerSOS:
			return fmt.Errorf("another scan follows that of all components")
		default:
			err = d.segment(marker)
		}
		if errors.Is(err, errTruncated) {
			d.damage.noEnd = true
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// scans decodes the scan s and all that follow it, and keeps their coefficients.
func (d *jpegDecoder) scans(s jpegScan) error {
	if err := d.scan(s); err != nil {
		return err
	}
	for {
		marker, err := d.next()
		switch {
		case err != nil && d.complete():
			d.damage.noEnd = true
			return nil
		case err != nil || marker == markerEOI:
			return err
		case marker == markerSOS:
			s, err := d.scanHeader()
			if err != nil {
				return err
			}
			if err := d.scan(s); err != nil {
				return err
			}
		default:
			if err := d.segment(marker); err != nil {
				return err
			}
		}
	}
}

// complete reports whether no scan can be missing.
func (d *jpegDecoder) complete() bool {
	if d.damage.scans > 0 {
		return false
	}
	for i := range d.comps {
		c := &d.comps[i]
		if c.quant == nil {
			return false
		}
		for _, bit := range c.known {
			if d.progressive && bit != 0 {
				return false
			}
		}
	}
	return true
}

// scan decodes a scan into the coefficients of its components.
func (d *jpegDecoder) scan(s jpegScan) error {
	for _, c := range s.components {
		if c.coef == nil {
			c.coef = make([]int16, 64*c.stride*c.rows)
		}
	}
	m := d.newMCUReader(s)
	for y := range d.mcusY {
		if err := m.rows(y, func(c *blocks) []int16 { return c.coef[64*c.stride*c.v*y:] }); err != nil {
			return err
		}
	}
	d.finish(m)
	return nil
}

// bandRows returns how many rows of MCUs are transformed together: some 64 lines
// of the picture.
func (d *jpegDecoder) bandRows() int {
	vMax := 1
	for i := range d.comps {
		vMax = max(vMax, d.comps[i].v)
	}
	return min(max(64/(8*vMax), 1), d.mcusY)
}

// output gives the picture that the coefficients make to sink.
func (d *jpegDecoder) output(sink rowSink) error {
	d.smoothing = d.smooths()
	d.damage.smoothed = d.smoothing
	for i := range d.comps {
		if d.comps[i].quant == nil {
			d.damage.components++
		}
	}
	b := newBander(d, sink)
	for y := 0; y < d.mcusY; y += b.most {
		b.emit(min(b.most, d.mcusY-y), func(c *blocks) []int16 { return c.coef[min(64*c.stride*c.v*y, len(c.coef)):] })
	}
	return nil
}

// mcuBand is the coefficients of some rows of MCUs of all components.
type mcuBand struct {
	n    int
	coef [4][]int16
}

// stream decodes a scan of all components, each band of it while the one before
// is being transformed and given to sink: a sequential file of one scan needs no
// room for the whole picture.
func (d *jpegDecoder) stream(s jpegScan, sink rowSink) error {
	b := newBander(d, sink)
	spare := 1 // with one processor there is nothing to do meanwhile
	if runtime.GOMAXPROCS(0) > 1 {
		spare = 2
	}
	free, work := make(chan *mcuBand, spare), make(chan *mcuBand, spare)
	for range spare {
		band := &mcuBand{}
		for i := range d.comps {
			c := &d.comps[i]
			band.coef[i] = make([]int16, 64*c.stride*c.v*b.most)
		}
		free <- band
	}
	var err error
	var panicked any
	go func() {
		defer close(work)
		defer func() { panicked = recover() }()
		err = d.readBands(s, b.most, free, work)
	}()
	defer func() { // wait for the reader, whatever becomes of the rest
		close(free)
		for range work {
		}
	}()
	for band := range work {
		b.emit(band.n, func(c *blocks) []int16 { return band.coef[c.index(d)] })
		for i := range d.comps {
			clear(band.coef[i])
		}
		free <- band
	}
	if panicked != nil {
		panic(panicked) // for [Decode] to catch
	}
	return err
}

// index returns the component's place in the frame.
func (c *blocks) index(d *jpegDecoder) int {
	for i := range d.comps {
		if c == &d.comps[i] {
			return i
		}
	}
	return 0
}

// readBands decodes the scan s by bands of most rows of MCUs, which it takes
// from free, zeroed, and leaves in work. It ends when free is closed.
func (d *jpegDecoder) readBands(s jpegScan, most int, free <-chan *mcuBand, work chan<- *mcuBand) error {
	m := d.newMCUReader(s)
	for y := 0; y < d.mcusY; y += most {
		band, ok := <-free
		if !ok {
			return nil
		}
		band.n = min(most, d.mcusY-y)
		for i := range band.n {
			err := m.rows(y+i, func(c *blocks) []int16 { return band.coef[c.index(d)][64*c.stride*c.v*i:] })
			if err != nil {
				return err
			}
		}
		work <- band
	}
	d.finish(m)
	return nil
}

// bander makes rows of the picture from bands of coefficients.
type bander struct {
	d    *jpegDecoder
	sink rowSink
	most int // rows of MCUs in a band
	y    int // the next of them
	done int // rows of the picture that the sink has
}

// contextRows is how many rows of samples before a band the upsampling of its
// first rows needs.
const contextRows = 1

func newBander(d *jpegDecoder, sink rowSink) *bander {
	b := &bander{d: d, sink: sink, most: d.bandRows()}
	for i := range d.comps {
		c := &d.comps[i]
		c.out.pix = make([]byte, c.out.stride*(8*c.v*b.most+contextRows))
	}
	return b
}

// emit transforms the next n rows of MCUs, coef(c) being those of a component,
// and gives the sink all rows of the picture that can be made now: the last one
// waits for the samples below it.
func (b *bander) emit(n int, coef func(c *blocks) []int16) {
	d := b.d
	last := b.y+n == d.mcusY
	for i := range d.comps {
		c := &d.comps[i]
		first := 8 * c.v * b.y // the band's first row of samples
		c.out.keep(first)
		all := coef(c)
		rows := min(c.v*n, c.high-c.v*b.y)
		parallel.Range(rows, 200*c.wide, func(lo, hi int) {
			for y := lo; y < hi; y++ {
				dst := c.out.pix[c.out.stride*(first-c.out.top+8*y):]
				if d.smoothing {
					d.inverseSmooth(c, dst, c.v*b.y+y)
				} else {
					c.inverse(dst, all, y)
				}
			}
		})
	}
	b.y += n
	to := d.h
	if !last {
		to = 8*b.y*d.comps[0].v*d.comps[0].out.vx - 1
	}
	room := b.sink.Room(to - b.done)
	d.colors(room, b.done, to)
	b.sink.Flush(room)
	b.done = to
}

// inverse transforms the y-th row of the blocks in coef to dst. A component
// without data is gray.
func (c *blocks) inverse(dst []byte, coef []int16, y int) {
	if c.quant == nil {
		for i := range dst[:8*c.out.stride] {
			dst[i] = 128
		}
		return
	}
	coef = coef[64*c.stride*y:]
	for x := range c.wide {
		inverseDCT(dst[8*x:], c.out.stride, (*[64]int16)(coef[64*x:]), c.quant)
	}
}

// rowSink takes the rows of a picture from top to bottom.
type rowSink interface {
	// Room returns a buffer for the next n rows, [n][W][3].
	Room(n int) []byte
	// Flush takes the rows that were put into a buffer.
	Flush(rows []byte)
}

// wholePicture is a rowSink that keeps all rows, in img.
type wholePicture struct {
	img  *RGB
	done int // bytes of img.Pix
}

func (p *wholePicture) Room(n int) []byte {
	return p.img.Pix[p.done:][:3*p.img.W*n]
}

func (p *wholePicture) Flush(rows []byte) {
	p.done += len(rows)
}
