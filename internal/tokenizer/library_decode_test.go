//go:build cgo && !notokenizers

package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/daulet/tokenizers"
)

// Decode is the library's Decode, and streaming changes nothing, on any ids.
func TestDecodeRandom(t *testing.T) {
	tok := open(t, true)
	lib, err := tokenizers.FromBytes(tokenizerJSON(t))
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	random := rand.New(rand.NewPCG(1, 2))
	// Byte tokens spell whole characters by chance too rarely: these do.
	bytesOf := func(s string) (ids []int) {
		for _, b := range []byte(s) {
			ids = append(ids, slices.Index(tok.src.Pieces, ByteToken(b)))
		}
		return ids
	}
	for n := range 3000 {
		var ids []int
		for range random.IntN(12) {
			switch random.IntN(6) {
			case 0:
				ids = append(ids, bytesOf("é")...)
			case 1:
				ids = append(ids, bytesOf("😀日")...)
			case 2:
				ids = append(ids, 83+1+random.IntN(255)) // any byte but zero, which ends C strings
			case 3:
				ids = append(ids, random.IntN(6)) // special ones
			default:
				ids = append(ids, random.IntN(2240))
			}
		}
		var ids32 []uint32
		ids = slices.DeleteFunc(ids, func(id int) bool { return id == 83 })
		for _, id := range ids {
			ids32 = append(ids32, uint32(id))
		}
		for _, skip := range []bool{true, false} {
			if want, got := lib.Decode(ids32, skip), tok.decode(ids, skip); got != want {
				t.Fatalf("run %d: decode(%v, %v) = %q, want %q", n, ids, skip, got, want)
			}
		}
		stream, text := tok.NewStream(), ""
		for _, id := range ids {
			part := stream.Push(id)
			if strings.ToValidUTF8(part, "") != part {
				t.Fatalf("run %d: a part is %q", n, part)
			}
			text += part
		}
		if text += stream.Flush(); text != tok.Decode(ids) {
			t.Fatalf("run %d: the stream of %v is %q, not %q", n, ids, text, tok.Decode(ids))
		}
	}
	if tok.Piece(83) != "<0x00>" {
		t.Fatal("the token left out is not the zero byte")
	}
}
