package sentencepiece

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	m, err := Parse(fixture(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.pieces) != 2176 || m.unk != "<unk>" {
		t.Errorf("%d pieces, unknown is %q", len(m.pieces), m.unk)
	}
	for id, want := range map[int]piece{
		0: {"<pad>", 0, typeControl}, 3: {"<unk>", 0, typeUnknown}, 4: {"<mask>", 0, typeUserDefined},
		1024: {"<loc0000>", 0, typeUserDefined}, 2175: {"<seg127>", 0, typeUserDefined},
	} {
		if m.pieces[id] != want {
			t.Errorf("piece %d is %v, want %v", id, m.pieces[id], want)
		}
	}
}

// TestParseTolerates reads what protobuf allows and other writers write.
func TestParseTolerates(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"no more than needed", whole()},
		{"a piece without type or score", whole(message(1, text(1, "a")))},
		{"unknown fields", whole(varint(200, 1), text(4, "x"), float(77, 1), []byte{9<<3 | wireFixed8, 1, 2, 3, 4, 5, 6, 7, 8})},
		{"fields in another order", slices.Concat(plain, trainer, special())},
		{"the trainer in two parts", slices.Concat(special(), plain, message(2, varint(35, 1)), message(2, varint(3, typeBPE)))},
		{"the last value counts", slices.Concat(special(), plain, message(2, varint(3, 1), varint(3, typeBPE), varint(35, 1)))},
		{"a denormalizer that does nothing", whole(message(5, text(1, "")))},
		{"a tab of its own", whole(onePiece("\t", 0, typeUserDefined))},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse(c.data)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.JSON(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseRejects(t *testing.T) {
	pieces := special()
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		// Not protobuf.
		{"one byte", "it ends within a field", []byte("x")},
		{"text", "not a sentencepiece model: ", []byte("version https://example.org\n")},
		{"field 0", "a field has the number 0", []byte{0, 0}},
		{"a high field", "a field has the number 536870912", varint(maxField+1, 1)},
		{"a group", "field 1: wire type 3", []byte{1<<3 | 3}},
		{"an end of a group", "field 1: wire type 4", []byte{1<<3 | 4}},
		{"wire type 7", "field 1: wire type 7", []byte{1<<3 | 7}},
		{"a long varint", "ends within a field", slices.Concat([]byte{3 << 3}, slices.Repeat([]byte{0xff}, 11))},
		{"a length beyond", "field 1: it ends within", []byte{1<<3 | wireBytes, 5, 0}},
		{"a huge length", "field 1: it ends within", []byte{1<<3 | wireBytes, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
		{"half a double", "field 9: it ends within", []byte{9<<3 | wireFixed8, 1, 2}},
		{"half a float", "piece 0: field 2: it ends within", message(1, []byte{2<<3 | wireFixed4, 1})},
		{"a piece as a number", "piece 0: wire type 0 where 2 is wanted", varint(1, 5)},
		{"a text as a number", "piece 0: wire type 0 where 2 is wanted", message(1, varint(1, 5))},
		{"a score as text", "piece 0: wire type 2 where 5 is wanted", message(1, text(2, "x"))},
		{"a type as text", "piece 0: wire type 2 where 0 is wanted", message(1, text(3, "x"))},
		{"a trainer as a number", "trainer_spec: wire type 0", varint(2, 1)},
		{"byte_fallback as text", "trainer_spec: wire type 2", message(2, text(35, "x"))},
		{"a charsmap as a number", "normalizer_spec: wire type 0", message(3, varint(2, 1))},
		{"a denormalizer as a number", "denormalizer_spec: wire type 0", varint(5, 1)},
		{"a piece of invalid utf-8", "piece 260: a string is not valid utf-8", whole(onePiece("a\xff", 0, 1))},
		{"too many pieces", "more than 1048576 pieces", slices.Repeat(message(1), maxPieces+1)},

		// Of another kind.
		{"empty", "without pieces", nil},
		{"unigram", "of the kind unigram, and Gemma's is BPE", slices.Concat(pieces, plain, message(2, varint(35, 1)))},
		{"word", "of the kind word", slices.Concat(pieces, plain, message(2, varint(3, 3), varint(35, 1)))},
		{"character", "of the kind character", slices.Concat(pieces, plain, message(2, varint(3, 4), varint(35, 1)))},
		{"of no kind", "of the kind type -1", slices.Concat(pieces, plain, message(2, varint(3, math.MaxUint64)))},
		{"a charsmap", `normalizes texts ("nmt_nfkc")`, whole(message(3, text(1, "nmt_nfkc"), text(2, "x")))},
		{"normalization rules", "normalizes texts", whole(message(3, text(6, "x")))},
		{"no normalizer", "add_dummy_prefix", slices.Concat(pieces, trainer)},
		{"a dummy prefix", "add_dummy_prefix", whole(message(3, varint(3, 1)))},
		{"spaces removed", "remove_extra_whitespaces", whole(message(3, varint(4, 1)))},
		{"spaces left", "escape_whitespaces", whole(message(3, varint(5, 0)))},
		{"a denormalizer", "denormalizer_spec", whole(message(5, text(2, "x")))},
		{"a denormalizer's rules", "denormalizer_spec", whole(message(5, text(6, "x")))},
		{"no byte fallback", "without byte_fallback", slices.Concat(pieces, plain, message(2, varint(3, typeBPE)))},

		// Pieces.
		{"an empty piece", "piece 260 of the sentencepiece model is empty", whole(onePiece("", 0, 1))},
		{"a long piece", "has 256 bytes, and 255 is the most", whole(onePiece(strings.Repeat("a", 256), 0, 1))},
		{"a NaN", "has the score NaN", whole(onePiece("a", float32(math.NaN()), 1))},
		{"an infinite score", "has the score -Inf", whole(onePiece("a", float32(math.Inf(-1)), 1))},
		{"an unused piece", `("a") is marked as unused`, whole(onePiece("a", 0, typeUnused))},
		{"type 0", "has the unknown type 0", whole(onePiece("a", 0, 0))},
		{"type 7", "has the unknown type 7", whole(onePiece("a", 0, 7))},
		{"a piece twice", `has the piece "a" twice`, whole(onePiece("a", 0, 1), onePiece("a", -1, 4))},
		{"two unknown pieces", `two unknown pieces, "<unk>" and "a"`, whole(onePiece("a", 0, typeUnknown))},
		{"no unknown piece", "no unknown piece", slices.Concat(pieces[len(onePiece("<pad>", 0, 3))*3+len(onePiece("<unk>", 0, 2)):], trainer, plain)},
		{"a byte too few", "255 pieces for bytes", slices.Concat(pieces[:len(pieces)-len(onePiece("<0xFF>", 0, 6))], trainer, plain)},
		{"a byte that is none", `("<0x0a>") is not a byte`, whole(onePiece("<0x0a>", 0, typeByte))},
		{"a byte with more", `("<0x0A>>") is not a byte`, whole(onePiece("<0x0A>>", 0, typeByte))},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

// TestPrefixes: a file that was cut anywhere is refused or, between two fields,
// whole.
func TestPrefixes(t *testing.T) {
	data := whole(onePiece("ab", -1, 1), onePiece("a", -2, 1), onePiece("b", -3, 1))
	for n := range len(data) {
		m, err := Parse(data[:n])
		if err == nil && len(m.pieces) < 260 {
			t.Errorf("the first %d bytes are a model of %d pieces", n, len(m.pieces))
		}
	}
	data = fixture(t)
	for n := 0; n < len(data); n += 101 {
		if m, err := Parse(data[:n]); err == nil {
			t.Errorf("the first %d bytes are a model of %d pieces", n, len(m.pieces))
		}
	}
}
