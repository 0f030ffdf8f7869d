package convert

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/safetensors"
)

const (
	chunkValues = 1 << 20 // values converted at a time, in whole rows
	maxWorkers  = 64
)

// tensor is a source and what it is to become.
type tensor struct {
	source
	Choice
}

// rows is the number of rows of the tensor.
func (t *tensor) rows() int {
	n := 1
	for _, d := range t.spec.Shape[1:] {
		n *= d
	}
	return n
}

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
	ckpt  *safetensors.Checkpoint
	order chan *chunk // as they are to be written
	work  chan *chunk // the same, for whoever is free
	free  chan []byte // used buffers
}

// encode writes the whole file to dst: the tensors, then those of the mask decoder.
func encode(ctx context.Context, ckpt *safetensors.Checkpoint, tensors []tensor, mask map[string][]float32, w *gguf.Writer, dst io.Writer, opts Options) error {
	threads := opts.Threads
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	threads = min(threads, maxWorkers)
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	// The capacity of order bounds the finished pieces in memory.
	s := &stream{ckpt, make(chan *chunk, threads+2), make(chan *chunk), make(chan []byte, 2*threads+4)}
	workers.Go(func() { s.produce(ctx, tensors, cmp.Or(opts.chunk, chunkValues)) })
	for range threads {
		workers.Go(s.convert)
	}
	next := 0
	return w.Encode(dst, func(t gguf.Tensor, dst io.Writer) error {
		if next == len(tensors) {
			return binary.Write(dst, binary.LittleEndian, mask[t.Name])
		}
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
		for row := 0; row < t.rows(); row += step {
			c := &chunk{tensor: t, row: row, rows: min(step, t.rows()-row), done: make(chan struct{})}
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
	for row := 0; row < t.rows(); {
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
	var raw []byte
	var values []float32
	for c := range s.work {
		t := c.tensor
		width, stored := t.spec.Shape[0], int(t.Stored[0])
		raw = room(raw, c.rows*width*int(t.entry.DType.Size()))
		values = room(values, c.rows*stored)
		var out []byte
		select {
		case out = <-s.free:
		default:
		}
		c.out = room(out, c.rows*int(t.Bytes/int64(t.rows())))
		if c.err = s.ckpt.ReadAt(t.entry, raw, int64(c.row)*int64(width)*t.entry.DType.Size()); c.err == nil {
			c.err = t.pack(c, raw, values)
		}
		close(c.done)
	}
}

// room gives a slice of n elements, b itself if it is large enough.
func room[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}

// pack turns rows of the checkpoint into rows of the file.
func (t *tensor) pack(c *chunk, raw []byte, values []float32) error {
	width, stored := t.spec.Shape[0], int(t.Stored[0])
	size := width * int(t.entry.DType.Size())
	for r := range c.rows {
		row := values[r*stored : (r+1)*stored]
		if err := decode(row[:width], t.entry.DType, raw[r*size:(r+1)*size]); err != nil {
			return fmt.Errorf("tensor %s: %w", t.entry.Name, err)
		}
		if t.plusOne {
			for i := range width {
				row[i]++
			}
		}
		clear(row[width:])
	}
	largest := largestBits(values)
	if largest >= infinity {
		for i, v := range values {
			if math.Float32bits(v)&^sign >= infinity {
				return fmt.Errorf("tensor %s has %v at row %d, column %d: the checkpoint is damaged", t.entry.Name, v, c.row+i/stored, i%stored)
			}
		}
	}
	if err := ggml.Quantize(t.Type, c.out, values, stored); err != nil {
		return fmt.Errorf("tensor %s: %w", t.entry.Name, err)
	}
	if v := math.Float32frombits(largest); v > maxHalf && t.Type != gguf.TypeF32 {
		// Only now can a 16-bit value or a block's 16-bit scale have overflowed.
		if err := ggml.Dequantize(t.Type, values, c.out, stored); err != nil {
			return fmt.Errorf("tensor %s: %w", t.entry.Name, err)
		}
		if largestBits(values) >= infinity {
			return fmt.Errorf("tensor %s has values up to %g, too large for %s: use --type bf16 or f32", t.entry.Name, v, t.Type)
		}
	}
	return nil
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

// decode converts little-endian values to float32, exactly.
func decode(dst []float32, dtype safetensors.DType, src []byte) error {
	le := binary.LittleEndian
	switch dtype {
	case safetensors.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case safetensors.BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16)
		}
	case safetensors.F16:
		for i := range dst {
			dst[i] = half(le.Uint16(src[2*i:]))
		}
	default:
		return fmt.Errorf("its type is %s, want F32, F16 or BF16", dtype)
	}
	return nil
}

// half converts IEEE 754 binary16 to binary32.
func half(h uint16) float32 {
	s := uint32(h&0x8000) << 16
	switch exp, frac := uint32(h>>10&0x1f), uint32(h&0x3ff); exp {
	case 0: // zero and subnormals: frac · 2^-24, exact
		return math.Float32frombits(s | math.Float32bits(float32(frac)*(1.0/(1<<24))))
	case 0x1f:
		return math.Float32frombits(s | infinity | frac<<13)
	default:
		return math.Float32frombits(s | (exp+127-15)<<23 | frac<<13)
	}
}
