//go:build cgo && !notokenizers

package tokenizer

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestSmall(t *testing.T) {
	tok := openSource(t, smallSource(smallJSON), false)
	// "a\\u0000" without a NUL, in JSON and in text; and unknown letters.
	if ids, err := tok.Encode("abaz"); err != nil || !slices.Equal(ids, []int{3, 1, 0}) {
		t.Errorf("Encode = %v, %v", ids, err)
	}
	if ids, err := tok.Encode("a\x00b"); err != nil || !slices.Equal(ids, []int{1, 0, 2}) {
		t.Errorf("without byte tokens a zero byte is unknown: %v, %v", ids, err)
	}
}

// Every one of these is an error; several would otherwise be a Rust panic,
// which ends the process.
func TestHostileJSON(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(smallJSON, old) {
			t.Fatalf("%q is not in the JSON", old)
		}
		return strings.Replace(smallJSON, old, new, 1)
	}
	for name, text := range map[string]string{
		"empty":               "",
		"cut":                 smallJSON[:len(smallJSON)/2],
		"not json":            "\x00\xff",
		"array":               "[]",
		"no model":            `{"version":"1.0"}`,
		"null model":          `{"model":null}`,
		"nested":              strings.Repeat("[", 100_000),
		"deep value":          change(`"a":1`, `"a":`+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)),
		"other model":         change(`"BPE"`, `"Unigram"`),
		"dropout":             change(`"BPE"`, `"BPE","dropout":0.5`),
		"subword prefix":      change(`"BPE"`, `"BPE","continuing_subword_prefix":"éé"`),
		"subword suffix":      change(`"BPE"`, `"BPE","end_of_word_suffix":"é"`),
		"merge unknown":       change(`"a b"`, `"a c"`),
		"merge with NUL":      change(`"a b"`, `"a \u0000"`),
		"merge of one":        change(`"a b"`, `"a"`),
		"merge of three":      change(`"a b"`, `"a b a"`),
		"no merges":           change(`,"merges":["a b"]`, ``),
		"no vocab":            change(`"vocab":{"u":0,"a":1,"b":2,"ab":3},`, ``),
		"vocab of strings":    change(`"a":1`, `"a":"1"`),
		"negative id":         change(`"a":1`, `"a":-1`),
		"huge id":             change(`"a":1`, `"a":4294967296`),
		"added negative":      change(`"added_tokens":[]`, `"added_tokens":[{"id":-1,"content":"x"}]`),
		"added empty":         change(`"added_tokens":[]`, `"added_tokens":[{"id":9,"content":""}]`),
		"regex normalizer":    change(`"normalizer":null`, `"normalizer":{"type":"Replace","pattern":{"Regex":"(a*)*b"},"content":"x"}`),
		"many added tokens":   change(`"added_tokens":[]`, `"added_tokens":[`+strings.Repeat(`{"id":9,"content":"x"},`, maxAdded)+`{"id":9,"content":"y"}]`),
		"no behavior":         change(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Split","pattern":{"String":" "},"invert":false}`),
		"no invert":           change(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":"Removed"}`),
		"empty pattern":       change(`"normalizer":null`, `"normalizer":{"type":"Replace","pattern":{"String":""},"content":"x"}`),
		"replace by nothing":  change(`"normalizer":null`, `"normalizer":{"type":"Replace","pattern":{"String":"▁▁"},"content":""}`),
		"unicode normalizer":  change(`"normalizer":null`, `"normalizer":{"type":"NFC"}`),
		"charsmap":            change(`"normalizer":null`, `"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}`),
		"unknown normalizer":  change(`"normalizer":null`, `"normalizer":{"type":"Nul\u0000"}`),
		"number as splitter":  change(`"pre_tokenizer":null`, `"pre_tokenizer":7`),
		"regex in a sequence": change(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated","invert":false}]}`),
		"bad behavior":        change(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":"No","invert":false}`),
	} {
		t.Run(name, func(t *testing.T) {
			tok := openSource(t, smallSource(text), false)
			if err := tok.Ready(); err == nil {
				ids, err := tok.Encode("ab")
				t.Errorf("it loads; ab is %v, %v", ids, err)
			} else if !strings.HasPrefix(err.Error(), "tokenizer.json: ") {
				t.Errorf("the error %q does not say where", err)
			}
		})
	}
}

// Older files may lack what they do not need.
func TestLeftOut(t *testing.T) {
	for _, left := range []string{`"version":"1.0",`, `"added_tokens":[],`, `"normalizer":null,`, `"pre_tokenizer":null,`, `"type":"BPE",`} {
		t.Run(left, func(t *testing.T) {
			tok := openSource(t, smallSource(strings.Replace(smallJSON, left, "", 1)), false)
			if ids, err := tok.Encode("ab"); err != nil || !slices.Equal(ids, []int{3}) {
				t.Errorf("%v, %v", ids, err)
			}
		})
	}
}

// A text that cannot fit in the context is refused before it is encoded.
func TestTextBeyondContext(t *testing.T) {
	src := smallSource(smallJSON)
	src.Context = 10
	tok := openSource(t, src, false)
	if ids, err := tok.Encode(strings.Repeat("ab", 10)); err != nil || len(ids) != 10 {
		t.Errorf("ten tokens of two bytes are %v, %v", ids, err)
	}
	for name, encode := range map[string]func(string) ([]int, error){
		"Encode": tok.Encode,
		"Prompt": func(text string) ([]int, error) { return tok.Prompt(text, 0, 1) },
		"Suffix": tok.Suffix,
	} {
		t.Run(name, func(t *testing.T) {
			if ids, err := encode(strings.Repeat("ab", 10) + "a"); err == nil || !strings.Contains(err.Error(), "context of 10 tokens") {
				t.Errorf("a text of 21 bytes is %v, %v", ids, err)
			}
		})
	}
	for _, c := range []struct{ context, want int }{{0, maxText}, {1 << 24, 1 << 25}, {1 << 40, maxText}, {3, 6}} {
		if got := textLimit(src.Pieces, c.context); got != c.want {
			t.Errorf("textLimit(%d) = %d, want %d", c.context, got, c.want)
		}
	}
}

// What the processor has no use for must not change ids nor be a way in.
func TestIgnoredParts(t *testing.T) {
	text := strings.Replace(smallJSON, `"added_tokens"`,
		`"truncation":{"max_length":1,"strategy":"LongestFirst","stride":0,"direction":"Right"},"padding":7,"post_processor":{"type":"x"},"decoder":[],"added_tokens"`, 1)
	tok := openSource(t, smallSource(text), false)
	if ids, err := tok.Encode("aab"); err != nil || !slices.Equal(ids, []int{1, 3}) {
		t.Errorf("Encode = %v, %v", ids, err)
	}
}

// Ids that the pieces do not have are an error, not an index out of range.
func TestIDsBeyondPieces(t *testing.T) {
	src := smallSource(strings.Replace(smallJSON, `"ab":3`, `"ab":1000000`, 1))
	tok := openSource(t, src, false)
	if ids, err := tok.Encode("ab"); err == nil {
		t.Errorf("ab is %v", ids)
	}
}

// FuzzOpen lets no JSON crash the library.
func FuzzOpen(f *testing.F) {
	f.Add(smallJSON, "ab a")
	f.Add(strings.Replace(smallJSON, `"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":false}`, 1), "a b")
	f.Add(strings.Replace(smallJSON, `"normalizer":null`, `"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Prepend","prepend":"a"}]}`, 1), "é\x00")
	f.Add(strings.Replace(smallJSON, `"added_tokens":[]`, `"added_tokens":[{"id":4,"content":"zz","single_word":true,"lstrip":true,"rstrip":true,"normalized":true,"special":true}]`, 1), "a zz b")
	f.Fuzz(func(t *testing.T, text, input string) {
		tok := openSource(t, smallSource(text), false)
		ids, err := tok.Encode(input)
		if err != nil {
			return
		}
		for _, id := range ids {
			if id < 0 || id >= 4 {
				t.Fatalf("id %d", id)
			}
		}
		if !json.Valid([]byte(text)) {
			t.Fatal("invalid JSON was accepted")
		}
	})
}

// Normalizers and pre-tokenizers that would multiply the work are refused, and
// those of real tokenizers are not.
func TestAmplification(t *testing.T) {
	replace := func(old, new string) string {
		return `{"type":"Replace","pattern":{"String":"` + old + `"},"content":"` + new + `"}`
	}
	list := func(kind string, parts ...string) string {
		return `{"type":"Sequence","` + kind + `":[` + strings.Join(parts, ",") + `]}`
	}
	ten := replace("a", strings.Repeat("a", 10))
	nest := replace("a", "b")
	for range 6 {
		nest = list("normalizers", nest)
	}
	split := strings.Replace(gemmaSplitter, `" "`, `"a"`, 1)
	for _, c := range []struct{ name, normalizer, splitter, want string }{
		{"Gemma's", gemmaNormalizer, gemmaSplitter, ""},
		{"none", "null", "null", ""},
		{"quotes", list("normalizers", replace("``", "''"), replace("''", "▁"), gemmaNormalizer), "null", ""},
		{"sixteen steps", list("normalizers", slices.Repeat([]string{replace("a", "b")}, 16)...), "null", ""},
		{"nested", list("normalizers", list("normalizers", gemmaNormalizer)), list("pretokenizers", split, split), ""},
		{"once", ten, "null", "10 times as long"},
		{"nine times", list("normalizers", slices.Repeat([]string{ten}, 9)...), "null", "1e+09 times as long"},
		{"nine nested", list("normalizers", list("normalizers", ten, ten, ten), list("normalizers", ten, ten, ten)), "null", "times as long"},
		{"doubled", list("normalizers", slices.Repeat([]string{replace("a", "aa")}, 4)...), "null", "16 times as long"},
		{"many steps", list("normalizers", slices.Repeat([]string{replace("a", "b")}, 17)...), "null", "normalizer: more than 16 steps"},
		{"many splits", "null", list("pretokenizers", slices.Repeat([]string{split}, 17)...), "pre_tokenizer: more than 16 steps"},
		{"deep", nest, "null", "nested more than 4 deep"},
		{"a split as normalizer", split, "null", "is not Gemma's"},
		{"a list of the other kind", list("pretokenizers", ten), "null", "normalizers is missing"},
		{"no list", "null", `{"type":"Sequence","pretokenizers":7}`, "pretokenizers: 7 where a list is wanted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.NewReplacer(`"normalizer":null`, `"normalizer":`+c.normalizer, `"pre_tokenizer":null`, `"pre_tokenizer":`+c.splitter).Replace(smallJSON)
			if _, err := ParseFile(text); (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			tok := openSource(t, smallSource(text), false)
			if err := tok.Ready(); (err == nil) != (c.want == "") {
				t.Errorf("loading it gives %v", err)
			}
		})
	}
}
