package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// sourceOf reads pieces from a tokenizer.json, as much as encoding needs.
func sourceOf(t testing.TB, data []byte) Source {
	t.Helper()
	var file struct {
		Added []addedToken `json:"added_tokens"`
		Model struct {
			Vocab map[string]int `json:"vocab"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	all := file.Model.Vocab
	for _, a := range file.Added {
		all[a.Content] = int(a.ID)
	}
	n := 0
	for _, id := range all {
		n = max(n, id+1)
	}
	src := Source{JSON: string(data), Pieces: make([]string, n), Types: slices.Repeat([]int32{TypeNormal}, n)}
	for piece, id := range all {
		src.Pieces[id] = piece
	}
	return src
}

// fullSize is a tokenizer of Gemma's size: PALIGEMMA_TOKENIZER_JSON, or one
// that is made up.
var fullSize = sync.OnceValues(func() ([]byte, error) {
	if path := os.Getenv("PALIGEMMA_TOKENIZER_JSON"); path != "" {
		return os.ReadFile(path)
	}
	return makeUp(256000), nil
})

// makeUp makes a tokenizer.json of Gemma's layout with n pieces before the
// <loc> tokens: parts of words, real ones and made-up ones. As transformers does
// when it reads a sentencepiece model, every way to put a piece together
// from two others is a merge.
func makeUp(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	ids := map[string]int{}
	var pieces []string
	add := func(piece string) bool {
		if _, ok := ids[piece]; ok || len(pieces) == n {
			return false
		}
		ids[piece] = len(pieces)
		pieces = append(pieces, piece)
		return true
	}
	var addedTokens []addedToken
	extra := func(special bool, piece string) {
		add(piece)
		addedTokens = append(addedTokens, addedToken{ID: int64(ids[piece]), Content: piece, Special: special, Normalized: !special})
	}
	for _, s := range []string{"<pad>", "<eos>", "<bos>", "<unk>"} {
		extra(true, s)
	}
	for _, s := range []string{"<mask>", "<2mass>", "[@BOS@]"} {
		extra(false, s)
	}
	for i := range 99 {
		extra(false, fmt.Sprintf("<unused%d>", i))
	}
	extra(false, "<start_of_turn>")
	extra(false, "<end_of_turn>")
	for i := 1; i < 32; i++ {
		extra(false, strings.Repeat("\n", i))
	}
	for i := 2; i < 32; i++ {
		extra(false, strings.Repeat("▁", i))
	}
	for _, s := range strings.Fields("table tr td th h1 h2 h3 b i u p code pre ul li") {
		extra(false, "<"+s+">")
		extra(false, "</"+s+">")
	}
	for b := range 256 {
		add(fmt.Sprintf("<0x%02X>", b))
	}

	// Characters, some of the words' left out.
	chars := map[rune]bool{'▁': true, '\t': true, ' ': false}
	for c := rune(33); c < 0x17f; c++ {
		chars[c] = c > 160 || c < 127
	}
	for _, w := range words {
		for _, c := range w {
			chars[c] = chars[c] || r.IntN(20) > 0
		}
	}
	// Parts of words, the short ones first: of characters that there are.
	parts := map[string]bool{}
	for _, w := range words {
		w := []rune("▁" + w)
		for i := range w {
			for j := i + 2; j <= min(len(w), i+9); j++ {
				if !slices.ContainsFunc(w[i:j], func(c rune) bool { return !chars[c] }) && r.IntN(3) > 0 {
					parts[string(w[i:j])] = true
				}
			}
		}
	}
	var pool []string
	for p := range parts {
		pool = append(pool, p)
	}
	slices.SortFunc(pool, func(a, b string) int {
		return cmp.Or(cmp.Compare(utf8.RuneCountInString(a), utf8.RuneCountInString(b)), strings.Compare(a, b))
	})
	count := 0
	for _, ok := range chars {
		if ok {
			count++
		}
	}
	for _, p := range pool {
		add(p)
	}
	// Words that nobody has, with most of their parts, as a real vocabulary has
	// those of the words that it was made from.
	for len(pieces) < n-count {
		w := []rune(pool[r.IntN(len(pool))] + strings.TrimLeft(pool[r.IntN(len(pool))], "▁"))
		for length := 2; length <= min(len(w), 8); length++ {
			for i := range len(w) - length + 1 {
				if p := string(w[i : i+length]); r.IntN(4) > 0 && len(pieces) < n-count {
					add(p)
				}
			}
		}
	}
	for c := rune(0); c <= utf8.MaxRune; c++ {
		if chars[c] {
			add(string(c))
		}
	}
	var merges [][2]string
	for _, p := range pieces {
		if strings.HasPrefix(p, "<") || strings.HasPrefix(p, "[") {
			continue
		}
		from := len(merges)
		for i := range p {
			_, ok1 := ids[p[:i]]
			_, ok2 := ids[p[i:]]
			if i > 0 && ok1 && ok2 {
				merges = append(merges, [2]string{p[:i], p[i:]})
			}
		}
		slices.SortFunc(merges[from:], func(a, b [2]string) int {
			return cmp.Or(cmp.Compare(ids[a[0]], ids[b[0]]), cmp.Compare(ids[a[1]], ids[b[1]]))
		})
	}
	n += 1024 + 128
	for i := range 1024 {
		extra(false, fmt.Sprintf("<loc%04d>", i))
	}
	for i := range 128 {
		extra(false, fmt.Sprintf("<seg%03d>", i))
	}
	addedTokens = append(addedTokens, addedToken{ID: int64(len(pieces)), Content: "<image>", Special: true})
	data, err := encode(map[string]any{
		"version": "1.0", "added_tokens": addedTokens,
		"normalizer": json.RawMessage(gemmaNormalizer), "pre_tokenizer": json.RawMessage(gemmaSplitter),
		"model": map[string]any{"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": ids, "merges": merges},
	})
	if err != nil {
		return nil
	}
	return data
}
