package convert

import (
	"fmt"

	"paligemma/internal/npz"
	"paligemma/internal/safetensors"
)

// axis is an index that runs from 0 to n−1 over values a stride apart.
type axis struct{ n, stride int }

// joinAxes joins axes that run through values as one would.
func joinAxes(axes []axis) []axis {
	var all []axis
	for _, a := range axes {
		if last := len(all) - 1; last >= 0 && all[last].stride == a.n*a.stride {
			all[last] = axis{all[last].n * a.n, a.stride}
			continue
		}
		all = append(all, a)
	}
	return all
}

// stridedRows are the rows of a tensor that lies in an array in another order, such as
// one layer of many, transposed.
type stridedRows struct {
	archive    *npz.Archive
	array      npz.Array
	dtype      safetensors.DType
	base       int    // of the first value
	rows, cols []axis // outermost first
	plusOne    bool
}

const (
	tileColumns = 16   // columns that are transposed at a time: a cache line of F32
	maxGap      = 4096 // bytes that are read in vain rather than skipped
)

func (s stridedRows) read(dst []float32, row int, lent *scratch) error {
	width := 1
	for _, a := range s.cols {
		width *= a.n
	}
	inner := axis{1, 1}
	if n := len(s.rows); n > 0 {
		inner = s.rows[n-1]
	}
	for done := 0; done < len(dst)/width; {
		start, left := s.at(row+done, inner)
		n := min(left, len(dst)/width-done)
		if err := s.block(dst[done*width:(done+n)*width], start, n, inner.stride, lent); err != nil {
			return err
		}
		done += n
	}
	if s.plusOne {
		for i := range dst {
			dst[i]++
		}
	}
	return nil
}

// at returns where a row begins, and how many rows there are from it on to the end of
// the inner axis.
func (s stridedRows) at(row int, inner axis) (start, left int) {
	left = inner.n - row%inner.n
	start = s.base
	for i := len(s.rows) - 1; i >= 0; i-- {
		start += row % s.rows[i].n * s.rows[i].stride
		row /= s.rows[i].n
	}
	return start, left
}

// block reads n rows, a stride apart from start on.
func (s stridedRows) block(dst []float32, start, n, stride int, lent *scratch) error {
	width := len(dst) / n
	inner := s.cols[len(s.cols)-1]
	switch {
	case len(s.cols) == 1 && inner.stride == 1 && (n == 1 || stride == width):
		return s.values(dst, start, lent)
	case n > 1 && stride != 1, inner.stride == 1:
		return fmt.Errorf("array %s: its order is not supported", shown(s.array.Name))
	}
	for col := 0; col < width; {
		at := start
		for i, c := len(s.cols)-1, col; i >= 0; i-- {
			at += c % s.cols[i].n * s.cols[i].stride
			c /= s.cols[i].n
		}
		columns := min(tileColumns, inner.n-col%inner.n)
		if err := s.tile(dst[col:], at, n, columns, width, lent); err != nil {
			return err
		}
		col += columns
	}
	return nil
}

// tile reads some columns of n rows, each of which lies in one piece, into rows that
// are width values apart.
func (s stridedRows) tile(dst []float32, at, n, columns, width int, lent *scratch) error {
	stride := s.cols[len(s.cols)-1].stride
	apart := n // of the columns in the scratch
	if (stride-n)*int(s.dtype.Size()) <= maxGap {
		apart = stride
	}
	lent.floats = room(lent.floats, apart*(columns-1)+n)
	if apart == stride {
		if err := s.values(lent.floats, at, lent); err != nil {
			return err
		}
	} else {
		for j := range columns {
			if err := s.values(lent.floats[j*n:(j+1)*n], at+j*stride, lent); err != nil {
				return err
			}
		}
	}
	for i := range n {
		line := dst[i*width : i*width+columns]
		for j := range line {
			line[j] = lent.floats[j*apart+i]
		}
	}
	return nil
}

// values reads values that lie one after the other.
func (s stridedRows) values(dst []float32, at int, lent *scratch) error {
	size := int(s.dtype.Size())
	lent.bytes = room(lent.bytes, len(dst)*size)
	if err := s.archive.ReadAt(s.array, lent.bytes, int64(at)*int64(size)); err != nil {
		return err
	}
	safetensors.DecodeFloat32s(dst, s.dtype, lent.bytes)
	return nil
}
