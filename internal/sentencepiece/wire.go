package sentencepiece

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Wire types of protobuf.
const (
	wireVarint = 0
	wireFixed8 = 1
	wireBytes  = 2
	wireFixed4 = 5
)

// maxField is the highest number that a field may have.
const maxField = 1<<29 - 1

var errTruncated = errors.New("it ends within a field")

// value is a field's value as it is encoded.
type value struct {
	wire   int
	number uint64 // unless wire is wireBytes
	bytes  []byte // part of the message
}

// fields calls each for every field of a message, in the order in which they
// are encoded.
func fields(message []byte, each func(number int, v value) error) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return errTruncated
		}
		message = message[n:]
		number := tag >> 3
		if number == 0 || number > maxField {
			return fmt.Errorf("a field has the number %d", number)
		}
		v, rest, err := readValue(message, int(tag&7))
		if err != nil {
			return fmt.Errorf("field %d: %w", number, err)
		}
		message = rest
		if err := each(int(number), v); err != nil {
			return err
		}
	}
	return nil
}

// readValue reads a value and returns what follows it. Groups, which nobody
// writes any more, are refused.
func readValue(message []byte, wire int) (v value, rest []byte, err error) {
	v.wire = wire
	size := 0
	switch wire {
	case wireVarint:
		if v.number, size = binary.Uvarint(message); size <= 0 {
			return v, nil, errTruncated
		}
	case wireFixed8:
		if size = 8; len(message) >= size {
			v.number = binary.LittleEndian.Uint64(message)
		}
	case wireFixed4:
		if size = 4; len(message) >= size {
			v.number = uint64(binary.LittleEndian.Uint32(message))
		}
	case wireBytes:
		length, n := binary.Uvarint(message)
		if n <= 0 || length > uint64(len(message)-n) {
			return v, nil, errTruncated
		}
		size = n + int(length)
		v.bytes = message[n:size]
	default:
		return v, nil, fmt.Errorf("wire type %d", wire)
	}
	if size > len(message) {
		return v, nil, errTruncated
	}
	return v, message[size:], nil
}

// want returns an error unless the value is encoded as a field's type is.
func (v value) want(wire int) error {
	if v.wire != wire {
		return fmt.Errorf("wire type %d where %d is wanted", v.wire, wire)
	}
	return nil
}

// message reads the fields of a nested message.
func (v value) message(each func(number int, v value) error) error {
	if err := v.want(wireBytes); err != nil {
		return err
	}
	return fields(v.bytes, each)
}

func (v value) setBytes(to *[]byte) error {
	if err := v.want(wireBytes); err != nil {
		return err
	}
	*to = v.bytes
	return nil
}

func (v value) setString(to *string) error {
	if err := v.want(wireBytes); err != nil {
		return err
	}
	if !utf8.Valid(v.bytes) {
		return errors.New("a string is not valid utf-8")
	}
	*to = string(v.bytes)
	return nil
}

func (v value) setFloat32(to *float32) error {
	if err := v.want(wireFixed4); err != nil {
		return err
	}
	*to = math.Float32frombits(uint32(v.number))
	return nil
}

func (v value) setBool(to *bool) error {
	if err := v.want(wireVarint); err != nil {
		return err
	}
	*to = v.number != 0
	return nil
}

// setInt32 reads an int32 or an enum: the low half of the number.
func (v value) setInt32(to *int32) error {
	if err := v.want(wireVarint); err != nil {
		return err
	}
	*to = int32(v.number)
	return nil
}
