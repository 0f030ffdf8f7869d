package convert

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/limits"
)

const (
	chunkValues = 1 << 20 // values converted at a time, in whole rows
	maxWorkers  = 64
)

// chunk is some rows of a tensor on their way through a worker.
type chunk struct {
	tensor    *tensor
	row, rows int
	out       []byte
	err       error
	done      chan struct{}
}

// stream converts tensors on several threads and hands the pieces out in order.
type stream struct {
	order chan *chunk // as they are to be written
	work  chan *chunk // the same, for whoever is free
	free  chan []byte // used buffers
}

// encode writes the whole file to dst.
func encode(ctx context.Context, tensors []tensor, w *gguf.Writer, dst io.Writer, opts Options) error {
	threads := opts.Threads
	if threads < 1 {
		threads = min(runtime.GOMAXPROCS(0), limits.CPUs())
	}
	threads = min(threads, maxWorkers)
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	// The capacity of order bounds the finished pieces in memory.
	s := &stream{make(chan *chunk, threads+2), make(chan *chunk), make(chan []byte, 2*threads+4)}
	workers.Go(func() { s.produce(ctx, tensors, cmp.Or(opts.chunk, chunkValues)) })
	for range threads {
		workers.Go(s.convert)
	}
	next := 0
	return w.Encode(dst, func(_ gguf.Tensor, dst io.Writer) error {
		next++
		return s.write(ctx, &tensors[next-1], dst)
	})
}

// produce cuts tensors into pieces of about that many values; where it cuts
// depends on nothing else, and blocks never reach over the end of a row.
func (s *stream) produce(ctx context.Context, tensors []tensor, values int) {
	defer close(s.work)
	defer close(s.order)
	for i := range tensors {
		t := &tensors[i]
		step := max(1, values/int(t.Stored[0]))
		for row := 0; row < t.height(); row += step {
			c := &chunk{tensor: t, row: row, rows: min(step, t.height()-row), done: make(chan struct{})}
			select {
			case s.order <- c:
			case <-ctx.Done():
				return
			}
			select {
			case s.work <- c:
			case <-ctx.Done():
				c.err = ctx.Err()
				close(c.done)
				return
			}
		}
	}
}

// write puts the pieces of one tensor into the file.
func (s *stream) write(ctx context.Context, t *tensor, dst io.Writer) error {
	for row := 0; row < t.height(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, ok := <-s.order
		if !ok {
			return ctx.Err()
		}
		<-c.done
		if c.err != nil {
			return c.err
		}
		if _, err := dst.Write(c.out); err != nil {
			return err
		}
		row += c.rows
		select {
		case s.free <- c.out:
		default:
		}
	}
	return nil
}

// convert is a worker. Its buffers for input are its own.
func (s *stream) convert() {
	var values []float32
	var lent scratch
	for c := range s.work {
		t := c.tensor
		values = room(values, c.rows*int(t.Stored[0]))
		var out []byte
		select {
		case out = <-s.free:
		default:
		}
		c.out = room(out, c.rows*int(t.Bytes/int64(t.height())))
		c.err = t.pack(c, values, &lent)
		close(c.done)
	}
}

// pack turns rows of the source into rows of the file.
func (t *tensor) pack(c *chunk, values []float32, lent *scratch) error {
	width, stored := t.Spec.Shape[0], int(t.Stored[0])
	if t.ready != nil {
		copy(c.out, t.ready[c.row*(len(c.out)/c.rows):])
		if err := ggml.Dequantize(t.Type, values, c.out, stored); err != nil {
			return fmt.Errorf("tensor %s: %w", t.source, err)
		}
		_, err := t.largest(c, values)
		return err
	}
	if err := t.rows.read(values[:c.rows*width], c.row, lent); err != nil {
		return err
	}
	spread(values, width, stored)
	largest, err := t.largest(c, values)
	if err != nil {
		return err
	}
	if err := ggml.Quantize(t.Type, c.out, values, stored); err != nil {
		return fmt.Errorf("tensor %s: %w", t.source, err)
	}
	if largest > maxHalf && t.Type != gguf.TypeF32 {
		// Only now can a 16-bit value or a block's 16-bit scale have overflowed.
		if err := ggml.Dequantize(t.Type, values, c.out, stored); err != nil {
			return fmt.Errorf("tensor %s: %w", t.source, err)
		}
		if largestBits(values) >= infinity {
			return fmt.Errorf("tensor %s has values up to %g, too large for %s: use --type bf16 or f32", t.source, largest, t.Type)
		}
	}
	return nil
}

// largest is the largest magnitude among the values of a piece, all of which
// must be numbers.
func (t *tensor) largest(c *chunk, values []float32) (float32, error) {
	largest := largestBits(values)
	if largest < infinity {
		return math.Float32frombits(largest), nil
	}
	stored := int(t.Stored[0])
	for i, v := range values {
		if math.Float32bits(v)&^sign >= infinity {
			return 0, fmt.Errorf("tensor %s has %v at row %d, column %d: the weights are damaged, download or save them again", t.source, v, c.row+i/stored, i%stored)
		}
	}
	return 0, nil
}

const (
	sign     = 1 << 31
	infinity = 0x7f800000 // the bits of +Inf; those of NaNs are larger
	maxHalf  = 65504      // the largest float16
)

// largestBits is the largest magnitude, as bits: NaN counts as the largest.
func largestBits(values []float32) uint32 {
	var largest uint32
	for _, v := range values {
		largest = max(largest, math.Float32bits(v)&^sign)
	}
	return largest
}
