package convert

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	reader "paligemma/internal/tokenizer"
)

func TestTokenizerKeys(t *testing.T) {
	f, report := run(t, tinyDir("pg1-tiny"), Options{})
	tokens, err := f.Strings(gguf.KeyTokens)
	if err != nil {
		t.Fatal(err)
	}
	scores, err := f.Float32s("tokenizer.ggml.scores")
	if err != nil {
		t.Fatal(err)
	}
	types, err := f.Int32s(gguf.KeyTokenTypes)
	if err != nil {
		t.Fatal(err)
	}
	if len(tokens) != 2177 || len(scores) != 2177 || len(types) != 2177 || report.Config.Tokens.Pieces != 2177 {
		t.Fatal(len(tokens), len(scores), len(types), report.Config.Tokens)
	}
	for id, want := range map[int]struct {
		token string
		kind  int32
	}{
		0: {"<pad>", reader.TypeControl}, 1: {"<eos>", reader.TypeControl}, 2: {"<bos>", reader.TypeControl}, 3: {"<unk>", reader.TypeUnknown},
		14: {"\n", reader.TypeUserDefined}, 83: {"<0x00>", reader.TypeByte}, 338: {"<0xFF>", reader.TypeByte},
		1024: {"<loc0000>", reader.TypeUserDefined}, 2048: {"<seg000>", reader.TypeUserDefined}, 2176: {"<image>", reader.TypeControl},
	} {
		if tokens[id] != want.token || types[id] != want.kind {
			t.Errorf("token %d is %q of type %d, want %q of %d", id, tokens[id], types[id], want.token, want.kind)
		}
	}
	if c := report.Config.Tokens; !reflect.DeepEqual(c, model.TokenConfig{BOS: 2, EOS: 1, PAD: 0, UNK: 3, Image: 2176, Pieces: 2177}) {
		t.Errorf("%+v", c)
	}
	for key, want := range map[string]any{
		"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default",
		"tokenizer.ggml.add_bos_token": true, "tokenizer.ggml.add_space_prefix": false,
		"tokenizer.ggml.bos_token_id": uint32(2), "tokenizer.ggml.image_token_id": uint32(2176),
		"general.architecture": "paligemma", "general.name": "test", "general.file_type": uint32(7), "general.quantization_version": uint32(2),
	} {
		if got := f.Value(key); got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}

	// Compiled, the tokenizer is what the JSON says.
	src, err := reader.FromGGUF(f.Header)
	if err != nil {
		t.Fatal(err)
	}
	if name, err := f.String(reader.KeyPipeline); name != reader.Pipeline || err != nil || src.Verify() != nil {
		t.Errorf("pipeline %q, %v, %v", name, err, src.Verify())
	}

	// The JSON is the checkpoint's, without white space.
	raw, err := os.ReadFile(filepath.Join(tinyDir("pg1-tiny"), "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.String(reader.KeyJSON)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizerOf(indented.Bytes(), 2240)
	if err != nil {
		t.Fatal(err)
	}
	if tok.json != got || len(got) > len(raw) {
		t.Errorf("%d bytes, %d when read indented, %d in the checkpoint", len(got), len(tok.json), len(raw))
	}
	var a, b any
	if json.Unmarshal(raw, &a) != nil || json.Unmarshal([]byte(got), &b) != nil || !reflect.DeepEqual(a, b) {
		t.Error("the tokenizer's JSON says something else")
	}
}

// small is a tokenizer.json; the arguments are its vocabulary, merges and added
// tokens.
func small(vocab, merges, added string) []byte {
	return []byte(`{"added_tokens":[` + added + `],"model":{"type":"BPE","unk_token":"<unk>","vocab":{` + vocab + `},"merges":[` + merges + `]}}`)
}

// tokenizerOf reads a tokenizer.json for a token embedding of that many rows.
func tokenizerOf(b []byte, rows int) (*tokenizer, error) {
	file, err := parseTokenizer(b)
	if err != nil {
		return nil, err
	}
	return newTokenizer(file, rows)
}

func TestTokenizerScores(t *testing.T) {
	for _, merges := range []string{`["a","b"],["ab","c"],["a","bc"],["b","c"]`, `"a b","ab c","a bc","b c"`} {
		tok, err := tokenizerOf(small(`"<unk>":0,"a":1,"b":2,"c":3,"ab":4,"abc":5,"bc":6,"xyz":7,"<0x41>":8,"top":10`, merges,
			`{"id":10,"content":"top"},{"id":11,"content":"<image>","special":true},{"id":12,"content":"<loc>","special":false}`), 64)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"<unk>", "a", "b", "c", "ab", "abc", "bc", "xyz", "<0x41>", "[PAD9]", "top", "<image>", "<loc>"}; !reflect.DeepEqual(tok.tokens, want) {
			t.Errorf("tokens %q", tok.tokens)
		}
		if want := []float32{0, 0, 0, 0, 0, -1, -3, -4, 0, 0, 0, 0, 0}; !reflect.DeepEqual(tok.scores, want) {
			t.Errorf("scores %v", tok.scores)
		}
		if want := []int32{2, 1, 1, 1, 1, 1, 1, 1, 6, 5, 4, 3, 4}; !reflect.DeepEqual(tok.types, want) {
			t.Errorf("types %v", tok.types)
		}
	}
}

func TestTokenizerRejects(t *testing.T) {
	for _, c := range []struct {
		name, want string
		json       []byte
	}{
		{"id beyond", `"b" has the id 64, but the token embedding has 64 rows`, small(`"<unk>":0,"b":64`, ``, ``)},
		{"negative id", `model: vocab: "b": -1 where an integer`, small(`"a":0,"b":-1`, ``, ``)},
		{"fraction as an id", `"a": 1.5 where an integer`, small(`"a":1.5`, ``, ``)},
		{"an id twice", `tokens "a" and "b" both have the id 1`, small(`"b":1,"a":1`, ``, ``)},
		{"another id", `the added token "a" has the id 2, and 1 in the vocabulary`, small(`"a":1`, ``, `{"id":2,"content":"a"}`)},
		{"no id", `an added token lacks its id`, small(`"a":1`, ``, `{"content":"x"}`)},
		{"no content", `an added token lacks its id or content`, small(`"a":1`, ``, `{"id":1}`)},
		{"unknown piece of a merge", `merge 1: "ax" is not in the vocabulary`, small(`"a":1,"x":2,"aa":3`, `["a","a"],["a","x"]`, ``)},
		{"one piece", `merge 0: ["a"] are not two pieces`, small(`"a":1`, `"a"`, ``)},
		{"three pieces", `merge 0: ["a" "b" "c"] are not two pieces`, small(`"a":1`, `["a","b","c"]`, ``)},
		{"number as a merge", `merge 0: 7 where a list is wanted`, small(`"a":1`, `7`, ``)},
		{"nested merge", `merge 0: a list where a string is wanted`, small(`"a":1`, `[[]]`, ``)},
		{"mixed merges", `merge 1 is not of the form`, small(`"a":1,"aa":2`, `["a","a"],"a a"`, ``)},
		{"comment among merges", `merge 0: it begins with #version`, small(`"a":1`, `"#version x"`, ``)},
		{"piece twice", `key "a" is there twice`, small(`"a":1,"a":2`, ``, ``)},
		{"not utf-8", `not valid utf-8`, small("\"\xff\":1", ``, ``)},
		{"deep", `nested more than 32 deep`, append([]byte(`{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,`), small(``, ``, ``)[1:]...)},
		{"no added tokens", `added_tokens is missing`, []byte(strings.Replace(string(small(`"<unk>":0`, ``, ``)), "added_tokens", "other", 1))},
		{"no model", `model is missing`, []byte(`{"added_tokens":[]}`)},
		{"no vocabulary", `vocab is missing`, []byte(`{"added_tokens":[],"model":{"type":"BPE","unk_token":"a"}}`)},
		{"no merges", `merges is missing`, []byte(`{"added_tokens":[],"model":{"type":"BPE","unk_token":"a","vocab":{}}}`)},
		{"no unknown token", `unk_token is missing`, []byte(`{"added_tokens":[],"model":{"type":"BPE","vocab":{},"merges":[]}}`)},
		{"another model", `model.type is "Unigram", want BPE`, []byte(strings.Replace(string(small(`"<unk>":0`, ``, ``)), "BPE", "Unigram", 1))},
		{"another model's vocabulary", `model.type is "Unigram", want BPE`, []byte(`{"added_tokens":[],"model":{"vocab":[["a",-1.5]],"type":"Unigram"}}`)},
		{"vocabulary as a list", `model: vocab is not an object`, []byte(`{"added_tokens":[],"model":{"type":"BPE","unk_token":"a","vocab":["a"],"merges":[]}}`)},
		{"merges as text", `model: merges is not a list`, []byte(`{"added_tokens":[],"model":{"type":"BPE","unk_token":"a","vocab":{},"merges":"a b"}}`)},
		{"something after", `something follows its end`, append(small(`"a":1`, ``, ``), '1')},
		{"a list", `a list where an object is wanted`, []byte(`[]`)},
		{"unknown token not in the vocabulary", `unk_token "<unk>" is not in the vocabulary`, small(`"a":1`, ``, ``)},
		{"normalizer", `"Strip" is not Gemma's`, []byte(strings.Replace(string(small(`"<unk>":0`, ``, ``)), `"model"`, `"normalizer":{"type":"Strip"},"model"`, 1))},
		{"no colon", `bad json at byte`, small(`"a"`, ``, ``)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := tokenizerOf(c.json, 64); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

func FuzzTokenizer(f *testing.F) {
	f.Add(small(`"<unk>":0,"a":1,"b":2,"ab":3,"<0x41>":4`, `["a","b"]`, `{"id":5,"content":"<image>","special":true}`))
	f.Add(small(`"a":1,"b":60`, `"a b"`, ``))
	f.Add([]byte(`{"added_tokens":null,"model":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, err := tokenizerOf(b, 64)
		if err != nil {
			return
		}
		if len(tok.tokens) > 65 || len(tok.scores) != len(tok.tokens) || len(tok.types) != len(tok.tokens) {
			t.Fatal(len(tok.tokens), len(tok.scores), len(tok.types))
		}
		again, err := tokenizerOf([]byte(tok.json), 64)
		if err != nil || !reflect.DeepEqual(tok.tokens, again.tokens) || !reflect.DeepEqual(tok.scores, again.scores) {
			t.Fatal("the compact form differs", err)
		}
	})
}

func FuzzConfig(f *testing.F) {
	for _, name := range tiny {
		b, err := os.ReadFile(filepath.Join(tinyDir(name), "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"text_config":{"model_type":"gemma2","rope_parameters":{},"layer_types":[1]},"eos_token_id":[1,107],"size":{}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		var errs []error
		config, err := parseObject("config.json", b, &errs)
		if err != nil {
			return
		}
		processor := object{"preprocessor_config.json: ", config.fields, &errs}
		var v model.VisionConfig
		new(settings).checkProcessor(processor, &v)
		errs = nil
		s, err := readSettings(dir, config, 256)
		if err != nil {
			return
		}
		s.config.Tokens = model.TokenConfig{BOS: 1, EOS: 2, Image: 3, Pieces: 4}
		if s.config.Validate() != nil {
			return
		}
		if n := s.config.Text.Layers + s.config.Vision.Layers; n > 100 {
			return // slow, not unsafe
		}
		for _, m := range mixes {
			plan, err := Plan(s.config, m.name)
			if err != nil || bitsPerWeight(plan) <= 0 {
				t.Fatal(err)
			}
		}
	})
}
