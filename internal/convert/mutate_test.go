package convert

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	reader "paligemma/internal/tokenizer"
)

// withTab is a checkpoint whose tokenizer is the small one in testdata, of the
// form that released Gemmas have.
func withTab(t testing.TB) *checkpoint {
	t.Helper()
	c := load(t, "pg1-tiny")
	b, err := os.ReadFile("../../testdata/tokenizers/tab.json")
	if err != nil {
		t.Fatal(err)
	}
	var tokenizer map[string]any
	if err := json.Unmarshal(b, &tokenizer); err != nil {
		t.Fatal(err)
	}
	c.json["tokenizer.json"] = tokenizer
	c.config()["image_token_index"] = 450
	return c
}

// tokenizer is the checkpoint's tokenizer.json, to be changed.
func (c *checkpoint) tokenizer() map[string]any { return c.json["tokenizer.json"] }

// mutation is a change of one place in a JSON file.
type mutation struct {
	path  string
	apply func()
	undo  func()
}

// mutations are changes of everything in a JSON value: each member is removed,
// and becomes each of a few other values. Of long lists and objects a few
// members are taken at random.
func mutations(path string, v any, r *rand.Rand) (all []mutation) {
	const most = 8
	values := []any{nil, -1, 0, 1, 1 << 40, 0.5, true, "", "a", "<bos>", "<image>", "\x00", "▁", " ", strings.Repeat("a", 300), []any{}, map[string]any{}, []any{"a", "b"}}
	switch v := v.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		for _, key := range keys[:min(len(keys), most+3)] {
			old, at := v[key], path+"."+key
			all = append(all,
				mutation{at + " removed", func() { delete(v, key) }, func() { v[key] = old }},
				mutation{at + " renamed", func() { delete(v, key); v[key+"x"] = old }, func() { delete(v, key+"x"); v[key] = old }})
			for _, value := range values {
				all = append(all, mutation{fmt.Sprintf("%s = %.20v", at, value), func() { v[key] = value }, func() { v[key] = old }})
			}
			all = append(all, mutations(at, old, r)...)
		}
	case []any:
		for _, i := range r.Perm(len(v))[:min(len(v), most)] {
			old, at := v[i], fmt.Sprintf("%s[%d]", path, i)
			for _, value := range append(values, v[r.IntN(len(v))]) {
				all = append(all, mutation{fmt.Sprintf("%s = %.20v", at, value), func() { v[i] = value }, func() { v[i] = old }})
			}
			all = append(all, mutations(at, old, r)...)
		}
	}
	return all
}

// TestMutatedTokenizers converts tokenizers with one change each: what is
// accepted loads and encodes, and of the rest nothing is written.
func TestMutatedTokenizers(t *testing.T) {
	c := withTab(t)
	dir := c.save()
	path := filepath.Join(dir, "tokenizer.json")
	accepted, compiled, refused := 0, 0, 0
	all := mutations("", map[string]any{"": c.tokenizer()}, rand.New(rand.NewPCG(1, 2)))
	for i, m := range all {
		if i%7 != 0 {
			continue // some 430 of them
		}
		m.apply()
		c.write(path, c.tokenizer())
		m.undo()
		folder := t.TempDir()
		out := filepath.Join(folder, "out.gguf")
		report, err := Convert(context.Background(), dir, out, Options{})
		if err != nil {
			refused++
			if text := err.Error(); len(text) > 500+len(dir) || strings.Contains(text, "\n") {
				t.Errorf("%s: the error has %d bytes: %.600s", m.path, len(text), text)
			}
			if left, _ := os.ReadDir(folder); len(left) > 0 {
				t.Errorf("%s: left behind: %v", m.path, left)
			}
			continue
		}
		accepted++
		if report.Tokenizer.Encoder == reader.EncoderCompiled {
			compiled++
		}
		checkLoads(t, m.path, out)
	}
	t.Logf("%d accepted, %d of them compiled, %d refused", accepted, compiled, refused)
	if accepted == 0 || refused == 0 || compiled == 0 || compiled == accepted {
		t.Error("the mutations are all of one kind")
	}
}

// checkLoads opens a model's tokenizer in both ways and verifies it.
func checkLoads(t *testing.T, name, path string) {
	t.Helper()
	f, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer f.Close()
	for _, special := range []bool{false, true} {
		tok, err := reader.OpenGGUF(f.Header, special)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, text := range []string{"caption en", "<loc0001><image>\t <bos>", "é\x00\xff"} {
			if _, err := tok.Encode(text); err != nil {
				t.Errorf("%s: Encode(%q): %v", name, text, err)
			}
		}
		tok.Close()
	}
	src, err := reader.FromGGUF(f.Header)
	if err == nil {
		err = src.Verify()
	}
	if err != nil {
		t.Errorf("%s: it does not verify: %v", name, err)
	}
}

// TestEncoderIsTold converts tokenizers that only the library can encode with.
func TestEncoderIsTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(tokenizer map[string]any)
		why    string // "": compiled
	}{
		{"Gemma's", func(map[string]any) {}, ""},
		{"split", func(m map[string]any) {
			m["pre_tokenizer"] = map[string]any{"type": "Split", "pattern": map[string]any{"String": " "}, "behavior": "MergedWithPrevious", "invert": false}
		}, ""},
		{"no byte fallback", func(m map[string]any) { m["model"].(map[string]any)["byte_fallback"] = false }, "byte_fallback is false"},
		{"no normalizer", func(m map[string]any) { m["normalizer"] = nil }, "the normalizer is not Gemma's"},
		{"lstrip", func(m map[string]any) { m["added_tokens"].([]any)[5].(map[string]any)["lstrip"] = true }, "depends on the text around it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ck := withTab(t)
			c.change(ck.tokenizer())
			f, report := run(t, ck.save(), Options{})
			want := reader.EncoderCompiled
			if c.why != "" {
				want = reader.EncoderLibrary
			}
			if e := report.Tokenizer; e.Encoder != want || !strings.Contains(e.Reason, c.why) || e.Update {
				t.Errorf("the report says %+v", e)
			}
			if e, err := reader.EncodingOf(f.Header); err != nil || e != report.Tokenizer {
				t.Errorf("the file says %+v, %v", e, err)
			}
			var table strings.Builder
			if err := report.WriteTable(&table); err != nil || !strings.Contains(table.String(), "\ntokenizer: ") || !strings.Contains(table.String(), c.why) {
				t.Errorf("%v, the table is\n%s", err, &table)
			}
		})
	}
}

// TestQuantizeUpdates makes a file that was converted with the library alone
// what convert makes of it today; one that cannot be compiled stays as it is.
func TestQuantizeUpdates(t *testing.T) {
	c := withTab(t)
	want, _ := run(t, c.save(), Options{})
	var w gguf.Writer
	for _, key := range want.Keys() {
		switch key {
		case reader.KeyPipeline, reader.KeyMerges, reader.KeyAdded:
		default:
			w.CopyKey(want.Header, key)
		}
	}
	old := rebuild(t, &w, want)
	e, err := reader.EncodingOf(old.Header)
	if err != nil || e.Encoder != reader.EncoderLibrary || !e.Update || !strings.Contains(e.String(), "paligemma quantize") {
		t.Errorf("the old file says %+v, %v", e, err)
	}
	got, report := again(t, old, QuantizeOptions{})
	sameFile(t, want, got)
	if report.Tokenizer.Encoder != reader.EncoderCompiled {
		t.Errorf("the report says %+v", report.Tokenizer)
	}
	c.tokenizer()["normalizer"] = nil
	library, _ := run(t, c.save(), Options{})
	got, report = again(t, library, QuantizeOptions{})
	sameFile(t, library, got)
	if report.Tokenizer.Encoder != reader.EncoderLibrary || report.Tokenizer.Reason == "" {
		t.Errorf("the report says %+v", report.Tokenizer)
	}
}

// rebuild writes a file with other keys and the same tensors.
func rebuild(t *testing.T, w *gguf.Writer, from *gguf.File) *gguf.File {
	t.Helper()
	for _, tensor := range from.Tensors {
		if err := w.AddTensor(tensor.Name, tensor.Type, tensor.Shape...); err != nil {
			t.Fatal(err)
		}
	}
	f, err := w.Build("rebuilt", func(tensor gguf.Tensor, data []byte) error {
		same, _ := from.Lookup(tensor.Name)
		copy(data, from.Data(same))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestSpecialIDs converts checkpoints whose special ids or context cannot work.
func TestSpecialIDs(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(c *checkpoint)
		want   []string // nil: it converts
	}{
		{"least context", func(c *checkpoint) { c.text()["max_position_embeddings"] = 19 }, nil},
		{"context of the image", func(c *checkpoint) { c.text()["max_position_embeddings"] = 18 }, []string{"a context of 18 tokens has no room", "want 19 or more"}},
		{"context of one", func(c *checkpoint) { c.text()["max_position_embeddings"] = 1 }, []string{"a context of 1 tokens has no room"}},
		{"other added id", func(c *checkpoint) {
			added := c.tokenizer()["added_tokens"].([]any)
			added[len(added)-1].(map[string]any)["id"] = 460
			c.config()["image_token_index"] = 460
		}, []string{`the added token "<image>" has the id 460, but tokenizers would give it 450`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ck := withTab(t)
			c.change(ck)
			if c.want == nil {
				run(t, ck.save(), Options{})
				return
			}
			fails(t, ck.save(), Options{}, c.want...)
		})
	}
}
