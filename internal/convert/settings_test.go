package convert

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
)

// TestTiedInText checks that text_config's tie_word_embeddings, which transformers
// 5 does not look at, takes no head away and asks for none.
func TestTiedInText(t *testing.T) {
	want, _ := run(t, tinyDir("pg2-tiny"), Options{Type: "f32"})
	c := load(t, "pg2-tiny")
	delete(c.config(), "tie_word_embeddings")
	c.config()["text_config"].(map[string]any)["tie_word_embeddings"] = false
	got, report := run(t, c.save(), Options{Type: "f32"})
	sameTensors(t, want, got)
	if !strings.Contains(strings.Join(report.Notes, "\n"), "text_config.tie_word_embeddings is false") {
		t.Errorf("notes %q", report.Notes)
	}
	c.copyAs(embedding, "lm_head.weight")
	c.set("lm_head.weight", 7, 1.5)
	if _, report := run(t, c.save(), Options{Type: "f32"}); report.Config.Tied {
		t.Error("a head that differs is tied")
	}
}

// TestUntied: a head of its own counts, whatever it is called.
func TestUntied(t *testing.T) {
	untied := func(name, prefix string) *gguf.File {
		c := load(t, "pg2-tiny")
		c.copyAs(embedding, name)
		c.set(name, 7, 1.5)
		c.renameAll(func(n string) string { return prefix + n })
		c.config()["tie_word_embeddings"] = false
		f, report := run(t, c.save(), Options{Type: "f32"})
		if report.Config.Tied {
			t.Errorf("%s%s is tied", prefix, name)
		}
		return f
	}
	wide := load(t, "pg2-tiny")
	wide.copyAs(embedding, "lm_head.weight")
	wide.set("lm_head.weight", 7, 1.5)
	wide.widen(wide.find("lm_head.weight"))
	if _, report := run(t, wide.save(), Options{}); report.Config.Tied {
		t.Error("a head that differs in F64 is tied")
	}
	want := untied("lm_head.weight", "")
	for _, name := range [][2]string{{"language_model.lm_head.weight", ""}, {"lm_head.weight", "base_model.model."}, {"language_model.lm_head.weight", "module."}} {
		sameTensors(t, want, untied(name[0], name[1]))
	}
}

// TestRows: the embedding may end at the id of <image>, whose row is never read,
// and be longer than the tokenizer.
func TestRows(t *testing.T) {
	for rows, fits := range map[int]bool{2175: false, 2176: true, 2177: true, 2200: true, 2239: true} {
		c := load(t, "pg1-tiny")
		d := c.find(embedding)
		d.Shape, d.Bytes = []int64{int64(rows), 64}, d.Bytes[:rows*64*4]
		c.config()["vocab_size"], c.text()["vocab_size"] = rows, rows
		if !fits {
			fails(t, c.save(), Options{}, fmt.Sprintf("the token embedding has %d rows", rows), "resize_token_embeddings")
			continue
		}
		_, report := run(t, c.save(), Options{})
		if k := report.Config.Tokens; k.Image != 2176 || k.Pieces != 2177 || report.Config.Text.Vocab != rows {
			t.Errorf("%d rows give %+v", rows, report.Config)
		}
	}
}

// TestStopTokens: they are those of generation_config.json, else of config.json,
// else the tokenizer's. Where generation_config.json names only the tokenizer's,
// as that of the base model does, transformers would not look at config.json;
// here its ids count too.
func TestStopTokens(t *testing.T) {
	for _, test := range []struct {
		name                     string
		generation, config, text any
		want                     []int // nil: eos alone
	}{
		{"nothing", nil, nil, nil, nil},
		{"all the same", 1, 1, 1, nil},
		{"a list of one", []any{1}, nil, nil, nil},
		{"generation list", []any{107, 1}, 1, 1, []int{1, 107}},
		{"generation number", 107, 1, 1, []int{107}},
		{"generation before config", []any{1, 107}, 5, 6, []int{1, 107}},
		{"config list", nil, []any{1, 107}, 1, []int{1, 107}},
		{"config number", nil, 107, 1, []int{107}},
		{"config next to the base model's generation", 1, 107, 107, []int{1, 107}},
		{"text", nil, nil, 107, []int{107}},
		{"twice", []any{107, 1, 107}, nil, nil, []int{1, 107}},
		{"none", -1, nil, nil, nil},
		{"beyond the vocabulary", []any{107, 5000}, nil, nil, []int{107}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := load(t, "pg1-tiny")
			for m, v := range map[*map[string]any]any{ptr(c.json["generation_config.json"]): test.generation, ptr(c.config()): test.config, ptr(c.text()): test.text} {
				if (*m)["eos_token_id"] = v; v == nil {
					delete(*m, "eos_token_id")
				}
			}
			f, report := run(t, c.save(), Options{})
			if k := report.Config.Tokens; !slices.Equal(k.Stop, test.want) || k.EOS != 1 {
				t.Errorf("stop tokens %v, eos %d, want %v", k.Stop, k.EOS, test.want)
			}
			if f.Has("tokenizer.ggml.eos_token_ids") != (test.want != nil) {
				t.Error("the key of the file")
			}
			if told := strings.Contains(strings.Join(report.Notes, "\n"), "generation ends at"); told != (test.want != nil) {
				t.Errorf("notes %q", report.Notes)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// TestNamedTokens: bos and eos are what the tokenizer's files call so, as for
// transformers' processor.
func TestNamedTokens(t *testing.T) {
	for _, test := range []struct {
		name     string
		change   func(c *checkpoint)
		bos, eos int
	}{
		{"tokenizer_config.json", func(c *checkpoint) { c.json["tokenizer_config.json"]["eos_token"] = "<mask>" }, 2, 4},
		{"special_tokens_map.json", func(c *checkpoint) {
			c.json["special_tokens_map.json"] = map[string]any{"eos_token": map[string]any{"content": "<mask>"}, "bos_token": "<eos>"}
		}, 1, 4},
		{"added_tokens_decoder comes first", func(c *checkpoint) {
			c.json["special_tokens_map.json"] = map[string]any{"eos_token": "<mask>"}
			c.json["tokenizer_config.json"]["added_tokens_decoder"] = map[string]any{}
		}, 2, 1},
		{"not in the vocabulary", func(c *checkpoint) { c.json["tokenizer_config.json"]["eos_token"] = "<|im_end|>" }, 2, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := load(t, "pg1-tiny")
			test.change(c)
			_, report := run(t, c.save(), Options{})
			if k := report.Config.Tokens; k.BOS != test.bos || k.EOS != test.eos {
				t.Errorf("bos %d, eos %d, want %d, %d: %q", k.BOS, k.EOS, test.bos, test.eos, report.Notes)
			}
		})
	}
}

// TestProcessorValues: a mean and deviation of the checkpoint's own are kept.
func TestProcessorValues(t *testing.T) {
	c := load(t, "pg1-tiny")
	c.processor()["image_mean"], c.processor()["image_std"] = []any{0.485, 0.456, 0.406}, 0.25
	_, report := run(t, c.save(), Options{})
	if v := report.Config.Vision; v.Mean != [3]float32{0.485, 0.456, 0.406} || v.Std != [3]float32{0.25, 0.25, 0.25} {
		t.Errorf("mean %v, deviation %v", v.Mean, v.Std)
	}
}
