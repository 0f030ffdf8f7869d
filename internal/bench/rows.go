package bench

import (
	"math"
	"math/rand/v2"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// patternValues is about how many random values are quantized for each type
// and width. More would look more like real weights and take longer; the speed
// of a product does not depend on it.
const patternValues = 1 << 18

// rows are a few random rows of a matrix, quantized, that are repeated to fill
// one of any height.
type rows struct {
	data  []byte
	bytes int // of a row
}

// newRows makes rows of width values, normally distributed with a variance of
// 1/width: a product then has the magnitude of its input, and nothing overflows.
// Zeros pad them to stored values, as in a converted file.
func newRows(random *rand.Rand, typ gguf.Type, width, stored int) (rows, error) {
	rowBytes, err := typ.RowBytes(int64(stored))
	if err != nil {
		return rows{}, err
	}
	n := max(1, patternValues/stored) | 1 // odd, so that heads and blocks of rows differ
	values := make([]float32, n*stored)
	scale := 1 / math.Sqrt(float64(width))
	for r := range n {
		for i := range width {
			values[r*stored+i] = float32(random.NormFloat64() * scale)
		}
	}
	p := rows{make([]byte, n*int(rowBytes)), int(rowBytes)}
	return p, ggml.Quantize(typ, p.data, values, stored)
}

// fill covers whole rows of dst, from any of the random rows on.
func (p rows) fill(random *rand.Rand, dst []byte) {
	n := copy(dst, p.data[random.IntN(len(p.data)/p.bytes)*p.bytes:])
	for n < len(dst) {
		n += copy(dst[n:], p.data)
	}
}

// filler fills the tensors of a model.
type filler struct {
	random *rand.Rand
	rows   map[rowKind]rows
}

// rowKind is what rows are made anew for.
type rowKind struct {
	typ           gguf.Type
	width, stored int
}

// tensor fills a tensor with values that keep activations in range: norms
// are one, biases zero, all else random.
func (f *filler) tensor(spec model.TensorSpec, t gguf.Tensor, data []byte) error {
	if len(spec.Shape) == 1 {
		values := make([]float32, spec.Shape[0])
		if !isBias(spec) {
			for i := range values {
				values[i] = 1
			}
		}
		return ggml.Quantize(t.Type, data, values, len(values))
	}
	kind := rowKind{t.Type, spec.Shape[0], int(t.Shape[0])}
	p, ok := f.rows[kind]
	if !ok {
		var err error
		if p, err = newRows(f.random, kind.typ, kind.width, kind.stored); err != nil {
			return err
		}
		f.rows[kind] = p
	}
	p.fill(f.random, data)
	return nil
}
