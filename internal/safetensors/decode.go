package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"

	"paligemma/internal/half"
	"paligemma/internal/quote"
)

// DecodeFloat32s fills dst with the first values of data, which is little-endian
// and has as many. They are exact but for F64, which is rounded. It reports
// whether the type is one that it decodes: F64, F32, F16 or BF16.
func DecodeFloat32s(dst []float32, dtype DType, data []byte) bool {
	le := binary.LittleEndian
	switch dtype {
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(data[8*i:])))
		}
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(data[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = half.FromF16(le.Uint16(data[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = half.FromBF16(le.Uint16(data[2*i:]))
		}
	default:
		return false
	}
	return true
}

// Float32s decodes all of data as DecodeFloat32s does.
func Float32s(dtype DType, data []byte) ([]float32, error) {
	if !DecodeFloat32s(nil, dtype, nil) {
		return nil, fmt.Errorf("dtype %s is not a floating-point type", quote.Short(dtype))
	}
	n, err := count(dtype, data)
	all := make([]float32, n)
	DecodeFloat32s(all, dtype, data)
	return all, err
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
	n, err := count(dtype, data)
	all := make([]int64, n)
	for i := range all {
		all[i] = decode(data[i*int(dtype.Size()):])
	}
	if tooBig {
		return nil, fmt.Errorf("a %s does not fit an int64", dtype)
	}
	return all, err
}

// count returns the number of values in data, 0 with an error.
func count(dtype DType, data []byte) (int, error) {
	size := int(dtype.Size())
	if len(data)%size != 0 {
		return 0, fmt.Errorf("%d bytes are not a multiple of the size of %s", len(data), dtype)
	}
	return len(data) / size, nil
}
