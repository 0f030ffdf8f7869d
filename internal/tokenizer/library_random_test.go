//go:build cgo && !notokenizers

package tokenizer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTabGoldens encodes to the ids that Hugging Face's tokenizers gives.
func TestTabGoldens(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testdata, "tokenizers/tab_ids.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text string
		IDs  []int
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 50 {
		t.Fatal(len(cases), err)
	}
	b := openBoth(t, sourceOf(t, []byte(tabJSON(t))), true)
	for _, c := range cases {
		ids, err := b.own.Encode(c.Text)
		if err != nil || !slices.Equal(ids, c.IDs) {
			t.Errorf("Encode(%q) = %v, %v; want %v", c.Text, ids, err, c.IDs)
		}
	}
	compareMany(t, sourceOf(t, []byte(tabJSON(t))), 3000)
}

// TestCompileLayouts compiles what tokenizers are saved as, and compares each
// with the library.
func TestCompileLayouts(t *testing.T) {
	tab := tabJSON(t)
	change := func(old, new string) string {
		if !strings.Contains(tab, old) {
			t.Fatalf("%q is not in the JSON", old)
		}
		return strings.Replace(tab, old, new, 1)
	}
	split := func(behavior string) string {
		return change(`"pre_tokenizer":null`, fmt.Sprintf(`"pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":%q,"invert":false}`, behavior))
	}
	n := len(sourceOf(t, []byte(tab)).Pieces)
	added := func(tokens ...string) string {
		return change(`],"normalizer"`, ","+strings.Join(tokens, ",")+`],"normalizer"`)
	}
	list := tab[strings.Index(tab, `"merges":[`)+len(`"merges":[`) : len(tab)-len(`]}}`)]
	pairs := change(list, `[`+strings.NewReplacer(`","`, `"],["`, ` `, `","`).Replace(list)+`]`)
	for name, text := range map[string]string{
		"as it is":              tab,
		"merges as pairs":       pairs,
		"split merged":          split("MergedWithPrevious"),
		"split removed":         split("Removed"),
		"split isolated":        split("Isolated"),
		"splits in a sequence":  change(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":" "},"behavior":"Contiguous","invert":false}]}`),
		"normalizer sequence":   change(gemmaNormalizer, `{"type":"Sequence","normalizers":[`+gemmaNormalizer+`]}`),
		"keys in another order": change(gemmaNormalizer, `{"content": "▁", "pattern":{"String":" "},"type":"Replace"}`),
		"no post-processor":     change(`"post_processor":{`, `"post_processor":null,"x":{`),
		"other decoder":         change(`"decoder":{"type":"Sequence"`, `"decoder":{"type":"ByteLevel"`),
		"ignore_merges false":   change(`"fuse_unk":true`, `"fuse_unk":false,"ignore_merges":false`),
		"truncation":            change(`"truncation":null`, `"truncation":{"max_length":2}`),
		"a character is added":  added(token(n, "ß", "special"), token(n+1, "語", "normalized"), token(n+2, "\U0001f916")),
		"words are added":       added(token(n, "<box>"), token(n+1, "hello world", "normalized"), token(n+2, "\t\t\t\t\t")),
		"image before loc":      strings.Replace(strings.Replace(tab, `"<image>"`, `"<image2>"`, 1), `"<loc0000>"`, `"<image>"`, 2),
		"other bytes missing":   change(`"<0x0D>"`, `"\u001f"`),
	} {
		t.Run(name, func(t *testing.T) {
			src := sourceOf(t, []byte(text))
			plain, special := openBoth(t, src, false), openBoth(t, src, true)
			r := rand.New(rand.NewPCG(8, 9))
			parts := append(slices.Clone(src.Pieces[len(src.Pieces)-90:]), "\t", "\t\t", " ", "\r", "\x1f", "語", "ß", "\U0001f916", "\U0001f917", "hello", "cat", "é")
			for range 1000 {
				var b strings.Builder
				for range 1 + r.IntN(10) {
					b.WriteString(parts[r.IntN(len(parts))])
				}
				plain.compare(t, b.String())
				special.compare(t, b.String())
			}
		})
	}
}

// TestSameAsLibraryRandom makes up small tokenizers of Gemma's layout and
// compares each that compiles with the library.
func TestSameAsLibraryRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	compiled := 0
	for range 300 {
		text, parts := randomTokenizer(t, r)
		src := sourceOf(t, []byte(text))
		if _, err := compile(src.JSON, src.Pieces); err != nil {
			if !strings.Contains(err.Error(), "two added tokens") { // once they are normalized
				t.Errorf("%v: %s", err, text)
			}
			continue
		}
		compiled++
		plain, special := openBoth(t, src, false), openBoth(t, src, true)
		for range 60 {
			var b strings.Builder
			for range 1 + r.IntN(14) {
				b.WriteString(parts[r.IntN(len(parts))])
			}
			plain.compare(t, b.String())
			special.compare(t, b.String())
		}
	}
	if compiled < 200 {
		t.Errorf("only %d compiled", compiled)
	}
}

// randomTokenizer makes up a tokenizer.json, and parts of texts for it.
func randomTokenizer(t *testing.T, r *rand.Rand) (text string, parts []string) {
	t.Helper()
	alphabet := []string{"a", "b", "▁", "\t", "é", "<", "語", "\U0001f916", "\ufffd"}
	ids := map[string]int{}
	var pieces []string
	add := func(piece string) {
		if _, ok := ids[piece]; !ok {
			ids[piece] = len(pieces)
			pieces = append(pieces, piece)
		}
	}
	for _, i := range r.Perm(len(alphabet))[:2+r.IntN(len(alphabet)-1)] {
		add(alphabet[i])
	}
	for b := range 256 {
		if _, ok := ids[string(rune(b))]; !ok || b >= 0x80 || r.IntN(2) == 0 {
			add(ByteToken(byte(b)))
		}
	}
	merges := [][]string{}
	letters := append(slices.Clone(pieces[:2]), pieces[len(pieces)-3:]...)
	for range r.IntN(30) {
		a, b := letters[r.IntN(len(letters))], letters[r.IntN(len(letters))]
		if len(a)+len(b) < 14 {
			add(a + b)
			merges, letters = append(merges, []string{a, b}), append(letters, a+b)
		}
	}
	parts = append(append(alphabet, " ", "\n", "ab", "x", "\x80"), pieces[max(0, len(pieces)-20):]...)
	added, next := []AddedToken{}, len(pieces)
	for range r.IntN(8) {
		content := parts[r.IntN(len(parts))]
		if r.IntN(2) == 0 {
			content += parts[r.IntN(len(parts))]
		}
		content = validUTF8(content)
		if slices.ContainsFunc(added, func(a AddedToken) bool { return a.Content == content }) {
			continue
		}
		id, ok := ids[content]
		if !ok {
			id, next = next, next+1
		}
		added = append(added, AddedToken{ID: id, Content: content, Special: r.IntN(2) == 0, Normalized: r.IntN(2) == 0})
		parts = append(parts, content)
	}
	splitter := []string{"null", gemmaSplitter}[r.IntN(2)]
	data, err := encode(map[string]any{
		"version": "1.0", "added_tokens": added, "normalizer": json.RawMessage(gemmaNormalizer), "pre_tokenizer": json.RawMessage(splitter),
		"model": map[string]any{"type": "BPE", "unk_token": pieces[0], "fuse_unk": r.IntN(2) == 0, "byte_fallback": true, "vocab": ids, "merges": merges},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(data), parts
}
