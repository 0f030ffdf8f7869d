package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"paligemma/internal/quote"
)

// Writer collects metadata and tensors and writes them as a GGUF v3 file. Keys
// and tensors are written in the order they were added; the same calls give
// the same bytes. A bad key or value (a duplicate, too long, not UTF-8) is kept
// as an error that AddTensor and Encode return. The zero Writer is ready to use.
type Writer struct {
	keys      []byte // encoded
	keyNames  map[string]bool
	names     map[string]bool
	tensors   []Tensor // offsets are set by layout, once the alignment is known
	alignment int64    // 0 for the default
	err       error
}

// SetString adds a string.
func (w *Writer) SetString(key, value string) {
	if len(value) > maxString {
		w.fail(fmt.Errorf("gguf key %s: %d bytes, more than the limit of %d", quote.Short(key), len(value), maxString))
		return
	}
	w.set(key, kindString, appendString(nil, value))
}

// SetBool adds a bool.
func (w *Writer) SetBool(key string, value bool) { setScalar(w, key, kindBool, value) }

// SetUint32 adds a uint32. The key "general.alignment" sets the alignment of
// the tensors' data too, which is 32 without it.
func (w *Writer) SetUint32(key string, value uint32) { setScalar(w, key, kindUint32, value) }

// SetUint64 adds a uint64.
func (w *Writer) SetUint64(key string, value uint64) { setScalar(w, key, kindUint64, value) }

// SetFloat32 adds a float32.
func (w *Writer) SetFloat32(key string, value float32) { setScalar(w, key, kindFloat32, value) }

// SetStrings adds an array of strings.
func (w *Writer) SetStrings(key string, value []string) {
	var b []byte
	for i, s := range value {
		if len(s) > maxString {
			w.fail(fmt.Errorf("gguf key %s: string %d: %d bytes, more than the limit of %d", quote.Short(key), i, len(s), maxString))
			return
		}
		b = appendString(b, s)
	}
	w.setArray(key, kindString, len(value), b)
}

// SetInt32s adds an array of int32.
func (w *Writer) SetInt32s(key string, value []int32) { setSlice(w, key, kindInt32, value) }

// SetFloat32s adds an array of float32.
func (w *Writer) SetFloat32s(key string, value []float32) { setSlice(w, key, kindFloat32, value) }

// CopyKey adds a key of another file with its value, of whatever type.
func (w *Writer) CopyKey(h *Header, key string) {
	v, ok := h.values[key]
	if !ok {
		w.fail(&MissingKeyError{key})
		return
	}
	data, err := v.bytes(h.r)
	switch {
	case err != nil:
		w.fail(fmt.Errorf("gguf key %s: %w", quote.Short(key), err))
	case v.kind == kindArray:
		w.setArray(key, v.elem, v.count, data)
	case v.kind == kindString:
		w.SetString(key, string(data))
	default:
		w.set(key, v.kind, data)
	}
}

func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

func setScalar[T any](w *Writer, key string, k kind, value T) {
	b, err := binary.Append(nil, binary.LittleEndian, value)
	if err != nil {
		w.fail(fmt.Errorf("gguf key %s: %w", quote.Short(key), err))
		return
	}
	w.set(key, k, b)
}

func setSlice[T any](w *Writer, key string, elem kind, value []T) {
	b, err := binary.Append(nil, binary.LittleEndian, value)
	if err != nil {
		w.fail(fmt.Errorf("gguf key %s: %w", quote.Short(key), err))
		return
	}
	w.setArray(key, elem, len(value), b)
}

func (w *Writer) setArray(key string, elem kind, count int, data []byte) {
	if count > maxArray {
		w.fail(fmt.Errorf("gguf key %s: %d elements, more than the limit of %d", quote.Short(key), count, maxArray))
		return
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(elem))
	b = binary.LittleEndian.AppendUint64(b, uint64(count))
	w.set(key, kindArray, append(b, data...))
}

// set adds a key with an encoded value.
func (w *Writer) set(key string, k kind, data []byte) {
	if err := checkName(key); err != nil {
		w.fail(fmt.Errorf("gguf key %w", err))
		return
	}
	switch {
	case len(key) > maxKeyLen:
		w.fail(fmt.Errorf("gguf key of %d bytes, more than the limit of %d", len(key), maxKeyLen))
		return
	case w.keyNames[key]:
		w.fail(fmt.Errorf("gguf key %s is set twice", quote.Short(key)))
		return
	case len(w.keyNames) == maxKeys:
		w.fail(fmt.Errorf("gguf key %s: more than the limit of %d keys", quote.Short(key), maxKeys))
		return
	case len(w.keys)+len(key)+len(data) > maxHeader:
		w.fail(fmt.Errorf("gguf key %s: the header is longer than %d bytes", quote.Short(key), maxHeader))
		return
	case key == alignmentKey:
		if k != kindUint32 {
			w.fail(fmt.Errorf("gguf key %s is %s, want uint32", quote.Short(key), kindNames[k]))
			return
		}
		a := int64(binary.LittleEndian.Uint32(data))
		if err := checkAlignment(a); err != nil {
			w.fail(fmt.Errorf("gguf key %s %w", quote.Short(key), err))
			return
		}
		w.alignment = a
	}
	if w.keyNames == nil {
		w.keyNames = make(map[string]bool)
	}
	w.keyNames[key] = true
	w.keys = appendString(w.keys, key)
	w.keys = binary.LittleEndian.AppendUint32(w.keys, uint32(k))
	w.keys = append(w.keys, data...)
}

// AddTensor adds a tensor; the shape is in ggml's order, innermost first.
func (w *Writer) AddTensor(name string, typ Type, shape ...int64) error {
	if w.err != nil {
		return w.err
	}
	if err := checkName(name); err != nil {
		return fmt.Errorf("gguf tensor name %w", err)
	}
	size, err := tensorSize(typ, shape)
	if err != nil {
		return fmt.Errorf("gguf tensor %s: %w", quote.Short(name), err)
	}
	switch {
	case len(name) > maxName:
		return fmt.Errorf("gguf tensor %s: a name of %d bytes, more than the limit of %d", quote.Short(name), len(name), maxName)
	case w.names[name]:
		return fmt.Errorf("gguf tensor %s is added twice", quote.Short(name))
	case len(w.tensors) == maxTensors:
		return fmt.Errorf("gguf tensor %s: more than the limit of %d tensors", quote.Short(name), maxTensors)
	}
	if w.names == nil {
		w.names = make(map[string]bool)
	}
	w.names[name] = true
	w.tensors = append(w.tensors, Tensor{Name: name, Type: typ, Shape: slices.Clone(shape), Size: size})
	return nil
}

// Tensors lists the tensors added so far. Offsets are final once every key is
// set.
func (w *Writer) Tensors() ([]Tensor, error) {
	tensors, _, _, err := w.layout()
	return tensors, err
}

// Size is the number of bytes that Encode will write.
func (w *Writer) Size() (int64, error) {
	_, _, size, err := w.layout()
	return size, err
}

func (w *Writer) align() int64 {
	if w.alignment == 0 {
		return defaultAlignment
	}
	return w.alignment
}

// layout sets the tensors' offsets, encodes all that goes before the data, and
// gives the size of the whole file.
func (w *Writer) layout() (tensors []Tensor, header []byte, size int64, err error) {
	if w.err != nil {
		return nil, nil, 0, w.err
	}
	le := binary.LittleEndian
	h := append([]byte(nil), magic...)
	h = le.AppendUint32(h, 3)
	h = le.AppendUint64(h, uint64(len(w.tensors)))
	h = le.AppendUint64(h, uint64(len(w.keyNames)))
	h = append(h, w.keys...)
	tensors = slices.Clone(w.tensors)
	offset := int64(0)
	for i, t := range tensors {
		h = appendString(h, t.Name)
		h = le.AppendUint32(h, uint32(len(t.Shape)))
		for _, d := range t.Shape {
			h = le.AppendUint64(h, uint64(d))
		}
		h = le.AppendUint32(h, uint32(t.Type))
		h = le.AppendUint64(h, uint64(offset))
		tensors[i].Offset = offset
		if t.Size > math.MaxInt64-offset {
			return nil, nil, 0, errors.New("gguf: the tensors' sizes overflow")
		}
		if offset = align(offset+t.Size, w.align()); offset < 0 {
			return nil, nil, 0, errors.New("gguf: the tensors' sizes overflow")
		}
	}
	if len(h) > maxHeader {
		return nil, nil, 0, fmt.Errorf("gguf: the header is longer than %d bytes", maxHeader)
	}
	size = align(int64(len(h)), w.align())
	if offset > math.MaxInt64-size {
		return nil, nil, 0, errors.New("gguf: the tensors' sizes overflow")
	}
	return tensors, h, size + offset, nil
}

// Encode writes the file to dst. It calls data once for each tensor in the
// order they were added; data must write exactly the tensor's Size bytes.
func (w *Writer) Encode(dst io.Writer, data func(t Tensor, dst io.Writer) error) error {
	tensors, header, _, err := w.layout()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(dst, 1<<16)
	if err := pad(out, header, int64(len(header)), w.align()); err != nil {
		return fmt.Errorf("write gguf header: %w", err)
	}
	for _, t := range tensors {
		c := &sizedWriter{w: out, left: t.Size}
		if err := data(t, c); err != nil {
			return fmt.Errorf("write gguf tensor %s: %w", quote.Short(t.Name), err)
		}
		if c.left != 0 {
			return fmt.Errorf("write gguf tensor %s: %d bytes are missing of %d", quote.Short(t.Name), c.left, t.Size)
		}
		if err := pad(out, nil, t.Size, w.align()); err != nil {
			return fmt.Errorf("write gguf tensor %s: %w", quote.Short(t.Name), err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write gguf: %w", err)
	}
	return nil
}

// pad writes b, the end of a part of n bytes, and zeros up to the alignment.
func pad(w io.Writer, b []byte, n, alignment int64) error {
	if _, err := w.Write(b); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, align(n, alignment)-n))
	return err
}

// sizedWriter refuses to write more than left bytes.
type sizedWriter struct {
	w    io.Writer
	left int64
}

func (s *sizedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > s.left {
		return 0, fmt.Errorf("%d bytes more than the tensor's size", int64(len(p))-s.left)
	}
	n, err := s.w.Write(p)
	s.left -= int64(n)
	return n, err
}
