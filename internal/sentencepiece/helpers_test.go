package sentencepiece

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// fixture is a small model of Gemma's kind; testdata/README.md says how it was
// made.
func fixture(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "tokenizers", "sentencepiece.model"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The fields of a message, encoded.
func varint(field int, n uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(field)<<3|wireVarint), n)
}

func text[T ~string | ~[]byte](field int, s T) []byte {
	b := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(field)<<3|wireBytes), uint64(len(s)))
	return append(b, s...)
}

func float(field int, f float32) []byte {
	return binary.LittleEndian.AppendUint32(binary.AppendUvarint(nil, uint64(field)<<3|wireFixed4), math.Float32bits(f))
}

func message(field int, parts ...[]byte) []byte { return text(field, slices.Concat(parts...)) }

// onePiece is an entry of pieces.
func onePiece(s string, score float32, kind uint64) []byte {
	return message(1, text(1, s), float(2, score), varint(3, kind))
}

// special are the pieces that every model has: the first four and the bytes.
func special() []byte {
	b := slices.Concat(onePiece("<pad>", 0, typeControl), onePiece("<eos>", 0, typeControl), onePiece("<bos>", 0, typeControl), onePiece("<unk>", 0, typeUnknown))
	for i := range 256 {
		b = append(b, onePiece(fmt.Sprintf("<0x%02X>", i), 0, typeByte)...)
	}
	return b
}

// Specs of Gemma's kind.
var (
	trainer = message(2, varint(3, typeBPE), varint(35, 1))
	plain   = message(3, text(1, "identity"), varint(3, 0), varint(4, 0), varint(5, 1))
)

// whole is a model of Gemma's kind with more pieces, and what else follows.
func whole(parts ...[]byte) []byte {
	return slices.Concat(special(), trainer, plain, slices.Concat(parts...))
}
