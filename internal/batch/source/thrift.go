package source

import (
	"encoding/binary"
	"errors"
)

// Types of Thrift's compact protocol.
const (
	thriftStop = iota
	thriftTrue
	thriftFalse
	thriftByte
	thriftI16
	thriftI32
	thriftI64
	thriftDouble
	thriftBinary
	thriftList
	thriftSet
	thriftMap
	thriftStruct
)

const (
	// maxThriftDepth bounds structs and lists in others: Parquet's are 8 deep.
	maxThriftDepth = 32
	// maxThriftElements bounds the elements of all lists of a struct: row groups,
	// their columns, key-value pairs. Each is a few hundred bytes in memory.
	maxThriftElements = 1 << 18
)

var (
	errThriftCut     = errors.New("it ends early")
	errThriftDamaged = errors.New("it is damaged")
	errThriftMany    = errors.New("it has too many row groups or columns")
)

// thriftWalker reads a struct of Thrift's compact protocol without keeping any of it.
// A decoder allocates what a length in the data asks for, so each is held against the
// data first.
type thriftWalker struct {
	data     []byte
	at       int
	elements int
}

// thriftLen returns how many bytes the struct at the beginning of data has.
func thriftLen(data []byte) (int, error) {
	w := thriftWalker{data: data}
	err := w.structure(0)
	return w.at, err
}

func (w *thriftWalker) byte() (byte, error) {
	if w.at >= len(w.data) {
		return 0, errThriftCut
	}
	b := w.data[w.at]
	w.at++
	return b, nil
}

func (w *thriftWalker) varint() (uint64, error) {
	v, n := binary.Uvarint(w.data[w.at:])
	switch {
	case n == 0:
		return 0, errThriftCut
	case n < 0:
		return 0, errThriftDamaged
	}
	w.at += n
	return v, nil
}

// skip passes over n bytes.
func (w *thriftWalker) skip(n uint64) error {
	if n > uint64(len(w.data)-w.at) {
		return errThriftCut
	}
	w.at += int(n)
	return nil
}

// structure walks the fields of a struct.
func (w *thriftWalker) structure(depth int) error {
	if depth > maxThriftDepth {
		return errThriftDamaged
	}
	for {
		b, err := w.byte()
		if err != nil || b == thriftStop {
			return err
		}
		if b>>4 == 0 { // the id follows
			if _, err := w.varint(); err != nil {
				return err
			}
		}
		kind := b & 0xf
		if kind == thriftTrue || kind == thriftFalse { // the value is the type
			continue
		}
		if err := w.value(kind, depth+1); err != nil {
			return err
		}
	}
}

// value walks a value, which is that of a field or an element.
func (w *thriftWalker) value(kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		return w.skip(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return w.pairs(depth)
	case thriftStruct:
		return w.structure(depth)
	}
	return errThriftDamaged
}

// list walks the elements of a list.
func (w *thriftWalker) list(depth int) error {
	b, err := w.byte()
	if err != nil {
		return err
	}
	n := uint64(b >> 4)
	if n == 0xf {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	return w.repeat(n, depth, b&0xf)
}

// pairs walks the keys and values of a map.
func (w *thriftWalker) pairs(depth int) error {
	n, err := w.varint()
	if err != nil || n == 0 {
		return err
	}
	b, err := w.byte()
	if err != nil {
		return err
	}
	return w.repeat(n, depth, b>>4, b&0xf)
}

// repeat walks n groups of values.
func (w *thriftWalker) repeat(n uint64, depth int, kinds ...byte) error {
	switch {
	case depth > maxThriftDepth:
		return errThriftDamaged
	case n > uint64(len(w.data)-w.at): // each has a byte at least
		return errThriftCut
	case n > uint64(maxThriftElements-w.elements):
		return errThriftMany
	}
	w.elements += int(n)
	for range n {
		for _, kind := range kinds {
			if err := w.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
