package jpeg

import (
	"runtime"

	"paligemma/internal/parallel"
)

// mcuBand is the coefficients of some rows of MCUs of all components.
type mcuBand struct {
	n    int
	coef [4][]int16
}

// stream decodes a scan of all components, each band of it while the one before
// is being transformed and given to sink: a sequential file of one scan needs no
// room for the whole picture.
func (d *Decoder) stream(s scan, sink RowSink) error {
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
		b.emit(band.n, func(c *component) []int16 { return band.coef[c.index(d)] })
		for i := range d.comps {
			clear(band.coef[i])
		}
		free <- band
	}
	if panicked != nil {
		panic(panicked) // for the caller to catch
	}
	return err
}

// readBands decodes the scan s by bands of most rows of MCUs, which it takes
// from free, zeroed, and leaves in work. It ends when free is closed.
func (d *Decoder) readBands(s scan, most int, free <-chan *mcuBand, work chan<- *mcuBand) error {
	m := d.newMCUReader(s)
	for y := 0; y < d.mcusY; y += most {
		band, ok := <-free
		if !ok {
			return nil
		}
		band.n = min(most, d.mcusY-y)
		for i := range band.n {
			err := m.rows(y+i, func(c *component) []int16 { return band.coef[c.index(d)][64*c.stride*c.v*i:] })
			if err != nil {
				return err
			}
		}
		work <- band
	}
	d.finish(m)
	return nil
}

// bandRows returns how many rows of MCUs are transformed together: some 64 lines
// of the picture.
func (d *Decoder) bandRows() int {
	vMax := 1
	for i := range d.comps {
		vMax = max(vMax, d.comps[i].v)
	}
	return min(max(64/(8*vMax), 1), d.mcusY)
}

// bander makes rows of the picture from bands of coefficients.
type bander struct {
	d    *Decoder
	sink RowSink
	most int // rows of MCUs in a band
	y    int // the next of them
	done int // rows of the picture that the sink has
}

// contextRows is how many rows of samples before a band the upsampling of its
// first rows needs.
const contextRows = 1

func newBander(d *Decoder, sink RowSink) *bander {
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
func (b *bander) emit(n int, coef func(c *component) []int16) {
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
	to := d.Height
	if !last {
		to = 8*b.y*d.comps[0].v*d.comps[0].out.vx - 1
	}
	room := b.sink.Room(to - b.done)
	d.colors(room, b.done, to)
	b.sink.Flush(room)
	b.done = to
}
