package convert

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	reader "paligemma/internal/tokenizer"
)

// golden reads a JSON file of testdata/tokenizers.
func golden(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "tokenizers", name))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sentencePiece is a model of 2,176 pieces, as many as pg1-tiny's tokenizer has
// without <image>.
func sentencePiece(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "tokenizers", "sentencepiece.model"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSentencePiece: a tokenizer.model alone gives the ids of the sentencepiece
// package and transformers' merges.
func TestSentencePiece(t *testing.T) {
	c := load(t, "pg1-tiny")
	delete(c.json, tokenizerJSON)
	c.files[tokenizerModel] = sentencePiece(t)
	f, report := run(t, c.save(), Options{})
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], `tokenizer.model lacks 1 token, which config.json names: <image>`) {
		t.Errorf("notes %q", report.Notes)
	}
	if tokens := report.Config.Tokens; tokens.Pieces != 2177 || tokens.Image != 2176 || tokens.BOS != 2 || tokens.UNK != 3 || report.Tokenizer.Encoder != reader.EncoderCompiled {
		t.Errorf("%+v, %v", tokens, report.Tokenizer)
	}
	tok, err := reader.OpenGGUF(f.Header, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tok.Close()
	var texts []struct {
		Text string
		IDs  []int
	}
	golden(t, "sentencepiece_ids.json", &texts)
	for _, want := range texts {
		if got, err := tok.Encode(want.Text); err != nil || !slices.Equal(got, want.IDs) {
			t.Errorf("%.60q is %v, want %v; %v", want.Text, got, want.IDs, err)
		}
	}
	text, err := f.String(reader.KeyJSON)
	if err != nil {
		t.Fatal(err)
	}
	file, err := reader.ParseFile(text)
	if err != nil {
		t.Fatal(err)
	}
	var pairs [][2]string
	golden(t, "sentencepiece_merges.json", &pairs)
	var merges []reader.Merge
	for _, p := range pairs {
		merges = append(merges, reader.Merge{Left: p[0], Right: p[1]})
	}
	if !reflect.DeepEqual(file.Merges, merges) {
		t.Errorf("%d merges, not transformers' %d", len(file.Merges), len(merges))
	}
	types, err := f.Int32s(gguf.KeyTokenTypes)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[int]int32{0: reader.TypeControl, 3: reader.TypeUnknown, 4: reader.TypeUserDefined, 16: reader.TypeUserDefined, 55: reader.TypeByte, 55 + 256: reader.TypeNormal, 1024: reader.TypeUserDefined, 2176: reader.TypeControl} {
		if types[id] != want {
			t.Errorf("token %d is of type %d, want %d", id, types[id], want)
		}
	}
}

// TestSentencePieceNamed: a tokenizer.model is taken by name, and a
// tokenizer.json goes before it.
func TestSentencePieceNamed(t *testing.T) {
	alone := load(t, "pg1-tiny")
	delete(alone.json, tokenizerJSON)
	alone.files[tokenizerModel] = sentencePiece(t)
	dir := alone.save()
	want, _ := run(t, dir, Options{})
	for name, path := range map[string]string{
		"a folder": dir, "a file": filepath.Join(dir, tokenizerModel),
		"another name": writeFile(t, filepath.Join(t.TempDir(), "paligemma.spm"), []byte(alone.files[tokenizerModel])),
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := run(t, tinyDir("pg1-tiny"), Options{Tokenizer: path})
			sameFile(t, want, got)
		})
	}
	both := load(t, "pg1-tiny")
	both.files[tokenizerModel] = sentencePiece(t)
	got, _ := run(t, both.save(), Options{})
	want, _ = run(t, load(t, "pg1-tiny").save(), Options{})
	sameFile(t, want, got)
}

// writeFile writes a file of a test.
func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTokenizerOption: a tokenizer that is named replaces the checkpoint's.
func TestTokenizerOption(t *testing.T) {
	want, _ := run(t, tinyDir("pg1-tiny"), Options{})
	text, err := os.ReadFile(filepath.Join(tinyDir("pg1-tiny"), tokenizerJSON))
	if err != nil {
		t.Fatal(err)
	}
	without := load(t, "pg1-tiny")
	delete(without.json, tokenizerJSON)
	broken := load(t, "pg1-tiny")
	broken.files[tokenizerJSON] = "{"
	cache := filepath.Join(t.TempDir(), "models--google--paligemma")
	writeFile(t, filepath.Join(cache, "snapshots", "0123", tokenizerJSON), text)
	for _, c := range []struct{ name, checkpoint, tokenizer string }{
		{"a folder", without.save(), tinyDir("pg1-tiny")},
		{"a folder in a hub's cache", without.save(), cache},
		{"a file", without.save(), filepath.Join(tinyDir("pg1-tiny"), tokenizerJSON)},
		{"a file of another name", without.save(), writeFile(t, filepath.Join(t.TempDir(), "gemma"), text)},
		{"in place of a broken one", broken.save(), tinyDir("pg1-tiny")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := run(t, c.checkpoint, Options{Tokenizer: c.tokenizer})
			sameFile(t, want, got)
		})
	}

	// What completes it lies next to it.
	lacking := load(t, "pg1-tiny")
	lacking.removeImage()
	lacking.json["added_tokens.json"] = map[string]any{imagePiece: 2176}
	_, report := run(t, without.save(), Options{Tokenizer: lacking.save()})
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "which added_tokens.json names") || report.Config.Tokens.Image != 2176 {
		t.Errorf("notes %q, <image> is %d", report.Notes, report.Config.Tokens.Image)
	}
}

// TestTokenizerOptionRejects names what is not a tokenizer.
func TestTokenizerOptionRejects(t *testing.T) {
	for _, c := range []struct {
		name, tokenizer string
		want            []string
	}{
		{"missing", filepath.Join(t.TempDir(), "none"), []string{"--tokenizer", "no such file or folder", "tokenizer.json"}},
		{"a folder without", t.TempDir(), []string{"--tokenizer", "has no tokenizer.json or tokenizer.model"}},
		{"a device", os.DevNull, []string{os.DevNull, "not a regular file"}},
		{"a pointer", writeFile(t, filepath.Join(t.TempDir(), "t.json"), []byte("version https://git-lfs.github.com/spec/v1\n")), []string{"t.json is a Git LFS pointer", "git lfs pull"}},
		{"a model cut short", writeFile(t, filepath.Join(t.TempDir(), "t.model"), []byte(sentencePiece(t)[:20000])), []string{"t.model: not a sentencepiece model", "use the tokenizer.json"}},
		{"another model", writeFile(t, filepath.Join(t.TempDir(), "t.model"), []byte("\x0a\x05\x0a\x03abc")), []string{"t.model: a sentencepiece model of the kind unigram", "use the tokenizer.json"}},
		{"not JSON", writeFile(t, filepath.Join(t.TempDir(), "t.json"), []byte("{")), []string{"t.json: bad json at byte 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			isSentence(t, fails(t, tinyDir("pg1-tiny"), Options{Tokenizer: c.tokenizer}, c.want...))
		})
	}
}

// TestGemmasTokenizer: to a tokenizer without PaliGemma's tokens they are added,
// as transformers' processor does.
func TestGemmasTokenizer(t *testing.T) {
	want, _ := run(t, tinyDir("pg1-tiny"), Options{})
	c := load(t, "pg1-tiny")
	beyond := func(id any) bool { return id.(float64) >= 1024 }
	maps.DeleteFunc(c.at(tokenizerJSON, "model", "vocab"), func(_ string, id any) bool { return beyond(id) })
	added := c.json[tokenizerJSON]["added_tokens"].([]any)
	c.json[tokenizerJSON]["added_tokens"] = slices.DeleteFunc(added, func(v any) bool { return beyond(v.(map[string]any)["id"]) })
	got, report := run(t, c.save(), Options{})
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "tokenizer.json lacks 1,153 tokens, which PaliGemma's processor adds: <loc0000>, <loc0001>") {
		t.Errorf("notes %q", report.Notes)
	}
	for _, key := range []string{gguf.KeyTokens, gguf.KeyTokenTypes, "tokenizer.ggml.image_token_id", reader.KeyMerges} {
		if !reflect.DeepEqual(got.Value(key), want.Value(key)) {
			t.Errorf("%s differs", key)
		}
	}
	c.config()["image_token_index"] = 2177
	fails(t, c.save(), Options{}, `lacks the token "<image>", whose id would be 1024 and not 2177`)
}

// TestTokenizerWithoutSpecial names every token that is missing.
func TestTokenizerWithoutSpecial(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(tinyDir("pg1-tiny"), tokenizerJSON))
	if err != nil {
		t.Fatal(err)
	}
	other := strings.NewReplacer(`"<bos>"`, `"<s>"`, `"<eos>"`, `"</s>"`).Replace(string(text))
	path := writeFile(t, filepath.Join(t.TempDir(), "other.json"), []byte(other))
	isSentence(t, fails(t, tinyDir("pg1-tiny"), Options{Tokenizer: path}, "other.json has no <bos>, no <eos> token", "use the tokenizer", "--tokenizer"))
}
