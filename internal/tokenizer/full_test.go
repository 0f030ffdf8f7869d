package tokenizer

import (
	"encoding/json"
	"os"
	"slices"
	"sync"
	"testing"

	"paligemma/internal/vocabulary"
)

// sourceOf reads pieces from a tokenizer.json, as much as encoding needs.
func sourceOf(t testing.TB, data []byte) Source {
	t.Helper()
	var file struct {
		Added []AddedToken `json:"added_tokens"`
		Model struct {
			Vocab map[string]int `json:"vocab"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	all := file.Model.Vocab
	for _, a := range file.Added {
		all[a.Content] = a.ID
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
	return vocabulary.MakeUp(257153), nil
})
