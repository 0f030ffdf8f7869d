package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"paligemma/internal/gguf"
)

const smallJSON = `{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,` +
	`"model":{"type":"BPE","unk_token":"u","byte_fallback":false,"vocab":{"u":0,"a":1,"b":2,"ab":3},"merges":["a b"]}}`

func smallSource(text string) Source {
	return Source{JSON: text, Pieces: []string{"u", "a", "b", "ab"}, Types: []int32{2, 1, 1, 1}}
}

// The library reads what the compiled form does not take, but not at any cost.
func TestLibraryAdded(t *testing.T) {
	list := func(texts ...string) string {
		var added []AddedToken
		for i, text := range texts {
			added = append(added, AddedToken{ID: 4 + i, Content: text, SingleWord: true})
		}
		data, err := json.Marshal(added)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Replace(smallJSON, `"added_tokens":[]`, `"added_tokens":`+string(data), 1)
	}
	numbered := func(n, size int) (texts []string) {
		for i := range n {
			texts = append(texts, fmt.Sprintf("%0*d", size, i))
		}
		return texts
	}
	for _, c := range []struct {
		name, text, want string
	}{
		{"as Gemma has them", list(numbered(1500, 93)...), ""},
		{"longest", list(strings.Repeat("q", maxLibraryAddedLen)), ""},
		{"too long", list(strings.Repeat("q", maxLibraryAddedLen+1)), "has 1025 bytes"},
		{"far too long", list(strings.Repeat("q", 1_000_000)), "has 1000000 bytes"},
		{"too many", list(numbered(maxLibraryAdded+1, 6)...), "16385 added tokens"},
		{"too much", list(numbered(2000, 1000)...), "added tokens of 2000000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sanitize(c.text)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestSourceChecks(t *testing.T) {
	for name, src := range map[string]Source{
		"no pieces":       {JSON: smallJSON},
		"fewer types":     {JSON: smallJSON, Pieces: []string{"a", "b"}, Types: []int32{1}},
		"type 0":          {JSON: smallJSON, Pieces: []string{"a"}, Types: []int32{0}},
		"type 7":          {JSON: smallJSON, Pieces: []string{"a"}, Types: []int32{7}},
		"image beyond":    {JSON: smallJSON, Pieces: []string{"a"}, Types: []int32{1}, Image: 1},
		"negative id eos": {JSON: smallJSON, Pieces: []string{"a"}, Types: []int32{1}, EOS: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if src.check() == nil {
				t.Error("no error")
			}
		})
	}
	if _, err := FromGGUF(&gguf.Header{}); err == nil {
		t.Error("FromGGUF of an empty header: no error")
	}
}

// What a tokenizer.json says is quoted in short.
func TestCheckQuotesShort(t *testing.T) {
	long, digits := strings.Repeat("x", 1<<20), strings.Repeat("1", 1<<20)
	const rest = `"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "a"}}`
	for name, text := range map[string]string{
		"model":      `{"model": {"type": "` + long + `"}}`,
		"normalizer": `{"normalizer": {"type": "` + long + `"}, ` + rest,
		"splitter":   `{"pre_tokenizer": {"type": "` + long + `"}, ` + rest,
		"added":      `{"added_tokens": [{"id": -1, "content": "` + long + `"}], ` + rest,
		"id":         `{"added_tokens": [{"id": ` + digits + `, "content": "b"}], ` + rest,
		"kind":       `{"model": ` + digits + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseFile(text); err == nil || len(err.Error()) > 400 {
				t.Errorf("%.600s", err)
			}
		})
	}
}
