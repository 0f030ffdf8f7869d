package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"paligemma/internal/quote"
)

// Data is a tensor to be written.
type Data struct {
	Name  string
	DType DType
	Shape []int64 // outermost first
	Bytes []byte  // little-endian
}

// NewFloat32 makes a tensor of F32. Whether shape fits is checked by Write.
func NewFloat32(name string, shape []int64, values []float32) Data {
	b := make([]byte, 0, 4*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return Data{name, F32, slices.Clone(shape), b}
}

// NewInt64 makes a tensor of I64. Whether shape fits is checked by Write.
func NewInt64(name string, shape []int64, values []int64) Data {
	b := make([]byte, 0, 8*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return Data{name, I64, slices.Clone(shape), b}
}

// Write writes tensors in the given order. The same arguments give the same
// bytes. What Parse would refuse is an error before anything is written.
func Write(w io.Writer, tensors []Data, metadata map[string]string) error {
	header, err := encodeHeader(tensors, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("write safetensors header: %w", err)
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Bytes); err != nil {
			return fmt.Errorf("write safetensors tensor %s: %w", quote.Short(t.Name), err)
		}
	}
	return nil
}

// encodeHeader makes the length and the JSON, padded with spaces so that the
// data starts at a multiple of 8.
func encodeHeader(tensors []Data, metadata map[string]string) ([]byte, error) {
	b := append(make([]byte, 8), '{')
	if metadata != nil {
		if len(metadata) > maxMetadata {
			return nil, fmt.Errorf("%d entries of metadata, more than the limit of %d", len(metadata), maxMetadata)
		}
		b = append(appendJSON(b, metadataKey), ":{"...)
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
				return nil, fmt.Errorf("metadata %s is not valid utf-8", quote.Short(key))
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSON(b, key), ':')
			b = appendJSON(b, metadata[key])
		}
		b = append(b, '}')
	}
	seen := make(map[string]bool, len(tensors))
	offset := int64(0)
	for i, t := range tensors {
		size, err := checkData(t, seen)
		if err != nil {
			return nil, err
		}
		if size > math.MaxInt64-maxHeader-offset {
			return nil, fmt.Errorf("tensor %s: the sizes overflow", quote.Short(t.Name))
		}
		if i > 0 || metadata != nil {
			b = append(b, ',')
		}
		b = append(appendJSON(b, t.Name), `:{"dtype":"`...)
		b = append(b, t.DType...)
		b = append(b, `","shape":[`...)
		b = append(b, strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Shape), "[]"), " ", ",")...)
		b = fmt.Appendf(b, `],"data_offsets":[%d,%d]}`, offset, offset+size)
		offset += size
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	if len(b)-8 > maxHeader {
		return nil, fmt.Errorf("the header is %d bytes long, more than the limit of %d", len(b)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b, nil
}

// checkData checks a tensor to be written and returns its size.
func checkData(t Data, seen map[string]bool) (int64, error) {
	if err := checkName(t.Name); err != nil {
		return 0, err
	}
	if t.Name == metadataKey || seen[t.Name] {
		return 0, fmt.Errorf("tensor %s: the name is taken", quote.Short(t.Name))
	}
	seen[t.Name] = true
	size, err := tensorSize(t.DType, t.Shape)
	if err != nil {
		return 0, fmt.Errorf("tensor %s: %w", quote.Short(t.Name), err)
	}
	if size != int64(len(t.Bytes)) {
		return 0, fmt.Errorf("tensor %s: %d bytes, but %s of shape %v has %d", quote.Short(t.Name), len(t.Bytes), t.DType, t.Shape, size)
	}
	return size, nil
}

// appendJSON appends a string as JSON, leaving < > & as they are.
func appendJSON(b []byte, s string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string in memory cannot fail
	return append(b, bytes.TrimRight(out.Bytes(), "\n")...)
}
