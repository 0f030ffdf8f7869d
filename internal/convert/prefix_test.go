package convert

import (
	"strings"
	"testing"

	"paligemma/internal/safetensors"
)

// policy makes a robot's policy of a checkpoint: a PaliGemma below a prefix, an expert
// next to it, and a config.json of another kind.
func policy(c *checkpoint, prefix string) {
	prefixed(prefix)(c)
	outer := strings.SplitAfterN(prefix, "paligemma_with_expert.", 2)[0]
	c.add(outer+"gemma_expert.model.layers.0.self_attn.q_proj.weight", []int64{2, 2}, []float32{1, 2, 3, 4})
	c.add("action_in_proj.weight", []int64{2, 2}, []float32{1, 2, 3, 4})
}

// TestPrefix takes a PaliGemma out of a larger model.
func TestPrefix(t *testing.T) {
	want, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	for _, test := range []struct {
		prefix, option string
		to             int // in layouts
	}{
		{"paligemma_with_expert.paligemma.", "paligemma_with_expert.paligemma.", 0},
		{"paligemma_with_expert.paligemma.", "paligemma_with_expert.paligemma", 1},
		{"model.paligemma_with_expert.paligemma.", "model.paligemma_with_expert.paligemma", 2},
		{"model.paligemma_with_expert.paligemma.", "model.paligemma_with_expert.paligemma.", 3},
	} {
		t.Run(test.option, func(t *testing.T) {
			c := load(t, "pg1-tiny")
			c.rename(layouts[test.to])
			policy(c, test.prefix)
			got, report := run(t, c.save(), Options{Type: "f32", Prefix: test.option})
			sameTensors(t, want, got)
			if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, "2 tensors, not below the prefix") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

// TestSuggestPrefix: what to type for a policy whose config.json is its own.
func TestSuggestPrefix(t *testing.T) {
	save := func(change func(c *checkpoint)) string {
		c := load(t, "pg1-tiny")
		policy(c, "model.paligemma_with_expert.paligemma.model.")
		c.json["config.json"] = map[string]any{"type": "pi0", "chunk_size": 50}
		if change != nil {
			change(c)
		}
		return c.save()
	}
	for _, test := range []struct {
		name   string
		change func(c *checkpoint)
		opts   Options
		want   []string
	}{
		{"a policy", nil, Options{}, []string{"--prefix model.paligemma_with_expert.paligemma.", "--tokenizer"}},
		{"without config.json", func(c *checkpoint) { delete(c.json, "config.json") }, Options{}, []string{"--prefix model.paligemma_with_expert.paligemma."}},
		{"of no release's size", nil, Options{Prefix: "model.paligemma_with_expert.paligemma"}, []string{"3 layers of width 64", "config.json"}},
		{"another prefix", nil, Options{Prefix: "policy"}, []string{"policy.", "--prefix model.paligemma_with_expert.paligemma."}},
		{"no PaliGemma", func(c *checkpoint) {
			c.tensors = nil
			c.add("action_in_proj.weight", []int64{1}, []float32{1})
		}, Options{Prefix: "policy"}, []string{"policy.", "action_in_proj.weight"}},
		{"an embedding without columns", func(c *checkpoint) {
			*c.find("embed_tokens.weight") = safetensors.NewFloat32(c.find("embed_tokens.weight").Name, []int64{1}, []float32{1})
		}, Options{Prefix: "model.paligemma_with_expert.paligemma"}, []string{"embed_tokens.weight", "[1]"}},
		{"damaged config.json", func(c *checkpoint) { c.files["config.json"] = "{" }, Options{Prefix: "model"}, []string{"bad json"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			isSentence(t, fails(t, save(test.change), test.opts, test.want...))
		})
	}
}
