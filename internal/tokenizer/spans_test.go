package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Spans cover the decoded text, one after the other, and each holds what its
// token stands for.
func TestSpans(t *testing.T) {
	pieces := []string{"<eos>", "▁cat", "<loc0001>", "<0xC3>", "<0xA9>", "<0xFF>", "▁", ";", "日本", ""}
	types := make([]int32, len(pieces))
	types[0] = TypeControl
	loaded := make(chan struct{})
	close(loaded)
	tok := &Tokenizer{loaded: loaded, src: Source{Pieces: pieces, Types: types}}
	for _, c := range []struct {
		name string
		ids  []int
		want []Span
	}{
		{"none", nil, []Span{}},
		{"words", []int{2, 1, 7}, []Span{{0, 9}, {9, 13}, {13, 14}}},
		{"special tokens have no text", []int{0, 1, 0}, []Span{{0, 0}, {0, 4}, {4, 4}}},
		{"bytes of a character", []int{3, 4, 7}, []Span{{0, 1}, {1, 2}, {2, 3}}},
		{"bytes at the end", []int{7, 3, 4}, []Span{{0, 1}, {1, 2}, {2, 3}}},
		{"bytes that are no character", []int{3, 5, 7}, []Span{{0, 3}, {3, 6}, {6, 7}}},
		{"an id outside the vocabulary", []int{99, 7}, []Span{{0, 0}, {0, 1}}},
		{"a special token between bytes", []int{3, 0, 4, 7}, []Span{{0, 1}, {0, 0}, {1, 2}, {2, 3}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := tok.Spans(c.ids); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	t.Run("random", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		for range 2000 {
			ids := make([]int, random.IntN(12))
			for i := range ids {
				ids[i] = random.IntN(len(pieces))
			}
			text, at := tok.Decode(ids), 0
			for i, s := range tok.Spans(ids) {
				if s.Start == s.End {
					continue
				}
				if s.Start != at || s.End > len(text) {
					t.Fatalf("%v: token %d lies at %v, want %d", ids, i, s, at)
				}
				at = s.End
				if _, ok := byteOf(pieces[ids[i]]); !ok && text[s.Start:s.End] != strings.ReplaceAll(pieces[ids[i]], "▁", " ") {
					t.Fatalf("%v: token %d is %q", ids, i, text[s.Start:s.End])
				}
			}
			if at != len(text) {
				t.Fatalf("%v: %q ends at %d", ids, text, at)
			}
		}
	})
}
