package preprocess

import (
	"fmt"
	"runtime"
	"sync"
)

// blocks is the state of one component.
type blocks struct {
	jpegComponent
	out          plane
	wide, high   int        // in blocks, what belongs to the picture
	stride, rows int        // in blocks, with what fills the last MCU up
	coef         []int16    // [rows][stride][64], blocks in natural order; nil when streamed
	quant        *[64]int16 // of the component's first scan
	dc, ac       *huffman   // of the present scan
	pred         int32      // the last DC coefficient
	row          []int16    // the present row of MCUs: [v or 1][stride][64]
}

// block is the block in that column and row of the present row of MCUs.
func (c *blocks) block(x, y int) *[64]int16 {
	return (*[64]int16)(c.row[64*(y*c.stride+x):])
}

// jpegDecoder decodes the scans of a file.
type jpegDecoder struct {
	*jpegHeader
	jpegTables
	mcusX, mcusY int // of a scan of all components
	comps        []blocks
	keep         bool // all coefficients, which a test compares
}

// newJPEGDecoder lays the components out.
func newJPEGDecoder(f *jpegHeader) (*jpegDecoder, error) {
	d := &jpegDecoder{jpegHeader: f}
	hMax, vMax := 1, 1
	for _, c := range f.components {
		hMax, vMax = max(hMax, c.h), max(vMax, c.v)
	}
	d.mcusX, d.mcusY = ceilDiv(f.w, 8*hMax), ceilDiv(f.h, 8*vMax)
	for _, c := range f.components {
		if hMax%c.h != 0 || vMax%c.v != 0 { // libjpeg refuses them too
			return nil, fmt.Errorf("%w: sampling factors %d×%d of %d×%d", ErrUnsupported, c.h, c.v, hMax, vMax)
		}
		p := plane{hx: hMax / c.h, vx: vMax / c.v}
		p.w, p.h = ceilDiv(f.w, p.hx), ceilDiv(f.h, p.vx)
		b := blocks{jpegComponent: c, wide: ceilDiv(p.w, 8), high: ceilDiv(p.h, 8), stride: d.mcusX * c.h, rows: d.mcusY * c.v}
		p.stride = 8 * b.wide
		b.out = p
		d.comps = append(d.comps, b)
	}
	return d, nil
}

// scans decodes all scans of a file whose headers are known.
func (d *jpegDecoder) scans(data []byte) error {
	return walkJPEG(data, func(marker byte, body, rest []byte) error {
		switch marker {
		case markerDQT:
			return d.quantisers(body)
		case markerDHT:
			return d.huffmans(body)
		case markerDRI:
			return d.restarts(body)
		case markerSOS:
			s, err := d.scanHeader(body)
			if err != nil {
				return err
			}
			return d.scan(s, rest)
		}
		return nil
	})
}

// planes gives the samples of all components, after [jpegDecoder.scans].
func (d *jpegDecoder) planes() ([]plane, error) {
	planes := make([]plane, len(d.comps))
	for i := range d.comps {
		c := &d.comps[i]
		if c.quant == nil {
			return nil, fmt.Errorf("component %d has no data", c.id)
		}
		if c.out.pix == nil {
			c.allocate()
			parallel(c.high, 200*c.wide, func(lo, hi int) {
				for y := lo; y < hi; y++ {
					c.inverse(y, c.coef[64*c.stride*y:])
				}
			})
			if !d.keep {
				c.coef = nil
			}
		}
		planes[i] = c.out
	}
	return planes, nil
}

func ceilDiv(a, b int) int {
	return (a + b - 1) / b
}

func (c *blocks) allocate() {
	c.out.pix = make([]byte, c.out.stride*8*c.high)
}

// inverse transforms a row of blocks, the y-th of the component.
func (c *blocks) inverse(y int, coef []int16) {
	for x := range c.wide {
		inverseDCT(c.out.pix[8*(y*c.out.stride+x):], c.out.stride, (*[64]int16)(coef[64*x:]), c.quant)
	}
}

// mcuRow is the coefficients of one row of MCUs of all components.
type mcuRow struct {
	y    int
	coef [4][]int16
}

// stream calls decode for each row of MCUs, with its coefficients zeroed, and
// has them transformed while the next rows are being decoded: a sequential file
// of one scan needs no room for the coefficients of the whole picture.
func (d *jpegDecoder) stream(decode func() error) error {
	// The transform takes about as long as the decoding: a few workers keep up.
	workers := min(max(1, runtime.GOMAXPROCS(0)-1), 4, d.mcusY)
	rows := min(2*workers+1, d.mcusY)
	free, work := make(chan *mcuRow, rows), make(chan *mcuRow, rows)
	for range rows {
		m := &mcuRow{}
		for i := range d.comps {
			c := &d.comps[i]
			m.coef[i] = make([]int16, 64*c.stride*c.v)
		}
		free <- m
	}
	for i := range d.comps {
		d.comps[i].allocate()
	}
	var wg sync.WaitGroup
	panics := make([]any, workers)
	for i := range workers {
		wg.Go(func() {
			for m := range work {
				d.inverse(m, &panics[i])
				free <- m
			}
		})
	}
	err := func() error {
		defer close(work)
		for y := range d.mcusY {
			m := <-free
			m.y = y
			for i := range d.comps {
				d.comps[i].row = m.coef[i]
			}
			if err := decode(); err != nil {
				return err
			}
			work <- m
		}
		return nil
	}()
	wg.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p) // for [Decode] to catch
		}
	}
	return err
}

// inverse transforms a row of MCUs and zeroes it. A panic, if there ever is one,
// is left in panicked.
func (d *jpegDecoder) inverse(m *mcuRow, panicked *any) {
	defer func() {
		if p := recover(); p != nil {
			*panicked = p
		}
	}()
	for i := range d.comps {
		c := &d.comps[i]
		for y := range c.v {
			if m.y*c.v+y < c.high {
				c.inverse(m.y*c.v+y, m.coef[i][64*c.stride*y:])
			}
		}
		clear(m.coef[i])
	}
}
