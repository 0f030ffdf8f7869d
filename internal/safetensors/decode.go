package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"

	"paligemma/internal/half"
	"paligemma/internal/quote"
)

// Float32s decodes little-endian F64, F32, F16 or BF16 to float32 (F64 is
// rounded).
func Float32s(dtype DType, data []byte) ([]float32, error) {
	var decode func(b []byte) float32
	le := binary.LittleEndian
	switch dtype {
	case F64:
		decode = func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) }
	case F32:
		decode = func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }
	case F16:
		decode = func(b []byte) float32 { return half.FromF16(le.Uint16(b)) }
	case BF16:
		decode = func(b []byte) float32 { return half.FromBF16(le.Uint16(b)) }
	default:
		return nil, fmt.Errorf("dtype %s is not a floating-point type", quote.Short(dtype))
	}
	return decodeAll(dtype, data, decode)
}

// Int64s decodes any little-endian integer type or BOOL to int64. A U64 above
// 2^63-1 is an error.
func Int64s(dtype DType, data []byte) ([]int64, error) {
	var decode func(b []byte) int64
	le := binary.LittleEndian
	tooBig := false
	switch dtype {
	case I64:
		decode = func(b []byte) int64 { return int64(le.Uint64(b)) }
	case I32:
		decode = func(b []byte) int64 { return int64(int32(le.Uint32(b))) }
	case I16:
		decode = func(b []byte) int64 { return int64(int16(le.Uint16(b))) }
	case I8:
		decode = func(b []byte) int64 { return int64(int8(b[0])) }
	case U64:
		decode = func(b []byte) int64 {
			n := le.Uint64(b)
			tooBig = tooBig || n > math.MaxInt64
			return int64(n)
		}
	case U32:
		decode = func(b []byte) int64 { return int64(le.Uint32(b)) }
	case U16:
		decode = func(b []byte) int64 { return int64(le.Uint16(b)) }
	case U8, BOOL:
		decode = func(b []byte) int64 { return int64(b[0]) }
	default:
		return nil, fmt.Errorf("dtype %s is not an integer type", quote.Short(dtype))
	}
	all, err := decodeAll(dtype, data, decode)
	if tooBig {
		return nil, fmt.Errorf("a %s does not fit an int64", dtype)
	}
	return all, err
}

func decodeAll[T any](dtype DType, data []byte, decode func([]byte) T) ([]T, error) {
	size := int(dtype.Size())
	if len(data)%size != 0 {
		return nil, fmt.Errorf("%d bytes are not a multiple of the size of %s", len(data), dtype)
	}
	all := make([]T, len(data)/size)
	for i := range all {
		all[i] = decode(data[i*size:])
	}
	return all, nil
}
