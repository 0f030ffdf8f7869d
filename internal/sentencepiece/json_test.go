package sentencepiece

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// tokenizerJSON is what a test reads of a tokenizer.json.
type tokenizerJSON struct {
	Added []added `json:"added_tokens"`
	Model struct {
		Unk    string `json:"unk_token"`
		Vocab  map[string]int
		Merges [][2]string
	}
}

type added struct {
	ID                  int
	Content             string
	Special, Normalized bool
}

// toJSON parses a model and reads the JSON that it becomes.
func toJSON(t testing.TB, data []byte) (j tokenizerJSON) {
	t.Helper()
	m, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &j); err != nil {
		t.Fatal(err)
	}
	return j
}

func TestMerges(t *testing.T) {
	var pieces []byte
	for _, p := range []struct {
		text  string
		score float32
	}{{"abc", -3}, {"bc", -1}, {"a", -9}, {"b", -9}, {"c", -9}, {"ab", -2}, {"éb", -1}, {"é", -9}, {"xyz", 0}, {"abcc", -1}, {"a\"\\\x01", 0}, {"\"\\\x01", 0}} {
		pieces = append(pieces, onePiece(p.text, p.score, typeNormal)...)
	}
	got := toJSON(t, whole(pieces)).Model.Merges
	// By score; then the longer left piece, in characters; then the longer right
	// one; then the id of what is made.
	want := [][2]string{{"a", "\"\\\x01"}, {"abc", "c"}, {"b", "c"}, {"é", "b"}, {"a", "b"}, {"ab", "c"}, {"a", "bc"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("merges %q, want %q", got, want)
	}
}

// TestTab: the tab's byte becomes the tab, unless there is one.
func TestTab(t *testing.T) {
	tabs := onePiece("\t\t", 0, typeUserDefined)
	j := toJSON(t, whole(tabs))
	if id := j.Model.Vocab["\t"]; id != 13 || !reflect.DeepEqual(j.Model.Merges, [][2]string{{"\t", "\t"}}) {
		t.Errorf("the tab is %d, merges %q", id, j.Model.Merges)
	}
	if _, ok := j.Model.Vocab["<0x09>"]; ok {
		t.Error("<0x09> is there, too")
	}
	j = toJSON(t, whole(tabs, onePiece("\t", 0, typeNormal)))
	if j.Model.Vocab["\t"] != 261 || j.Model.Vocab["<0x09>"] != 13 {
		t.Errorf("the tab is %d, its byte %d", j.Model.Vocab["\t"], j.Model.Vocab["<0x09>"])
	}
}

func TestAdded(t *testing.T) {
	j := toJSON(t, whole(onePiece("<start_of_turn>", 0, typeUserDefined), onePiece("\n\n", 0, typeUserDefined), onePiece("a", 0, typeNormal)))
	want := []added{{0, "<pad>", true, false}, {1, "<eos>", true, false}, {2, "<bos>", true, false}, {3, "<unk>", true, false}, {260, "<start_of_turn>", false, true}, {261, "\n\n", false, true}}
	if !slices.Equal(j.Added, want) {
		t.Errorf("added tokens %v", j.Added)
	}
	if j.Model.Unk != "<unk>" || len(j.Model.Vocab) != 263 {
		t.Errorf("unk_token %q, %d pieces", j.Model.Unk, len(j.Model.Vocab))
	}
}

// TestTooManyMerges: a small file may stand for more merges than fit.
func TestTooManyMerges(t *testing.T) {
	// All texts of up to 18 letters of two: each has as many merges as places to
	// cut it.
	m, err := Parse(whole())
	if err != nil {
		t.Fatal(err)
	}
	for length := 1; length <= 18; length++ {
		for bits := range 1 << length {
			b := []byte(strings.Repeat("a", length))
			for i := range b {
				b[i] += byte(bits >> i & 1)
			}
			m.pieces = append(m.pieces, piece{text: string(b), kind: typeNormal})
		}
	}
	if _, err := m.JSON(); err == nil || !strings.Contains(err.Error(), "more than 4194304 merges") {
		t.Errorf("error %v", err)
	}
}

// FuzzParse: no panic, and what is accepted becomes JSON.
func FuzzParse(f *testing.F) {
	f.Add(whole(onePiece("ab", -1, 1), onePiece("a", -2, 1), onePiece("b", -3, 1)))
	f.Add(whole(onePiece("\t\t", 0, typeUserDefined), onePiece("\x00\"\\", 0, 1)))
	f.Add(fixture(f)[:4000])
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\n\r\x00") || len(text) > 460 {
				t.Errorf("%d bytes of error: %q", len(text), text)
			}
			return
		}
		b, err := m.JSON()
		if err != nil {
			return
		}
		var j tokenizerJSON
		if err := json.Unmarshal(b, &j); err != nil {
			t.Fatal(err)
		}
		if len(j.Model.Vocab) != len(m.pieces) {
			t.Errorf("%d pieces became %d", len(m.pieces), len(j.Model.Vocab))
		}
	})
}
