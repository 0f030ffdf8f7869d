package convert

import (
	"fmt"
	"strings"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// released makes the configuration of a release from what its config.json says.
func released(t testing.TB, kind, text string) model.Config {
	t.Helper()
	var errs []error
	config, err := parseObject("config.json", []byte(`{"model_type":"paligemma","text_config":{"model_type":"`+kind+`"`+text+`},"vision_config":{}}`), &errs)
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSettings(t.TempDir(), config, 256)
	if err != nil {
		t.Fatal(err)
	}
	s.config.Tied = true
	s.config.Tokens = model.TokenConfig{BOS: 2, EOS: 1, UNK: 3, Image: 257152, Pieces: 257153}
	if err := s.config.Validate(); err != nil {
		t.Fatal(err)
	}
	return s.config
}

func releases(t testing.TB) map[string]model.Config {
	return map[string]model.Config{
		"3B":    released(t, "gemma", ""),
		"2 3B":  released(t, "gemma2", ""),
		"2 10B": released(t, "gemma2", `,"hidden_size":3584,"intermediate_size":14336,"num_hidden_layers":42,"num_attention_heads":16,"num_key_value_heads":8`),
		"2 28B": released(t, "gemma2", `,"hidden_size":4608,"intermediate_size":36864,"num_hidden_layers":46,"num_attention_heads":32,"num_key_value_heads":16,"head_dim":128,"query_pre_attn_scalar":144`),
	}
}

// TestSparse reads the numbers that the releases leave to their family.
func TestSparse(t *testing.T) {
	all := releases(t)
	for name, want := range map[string]int64{"3B": 2923466480, "2 3B": 3032242416} {
		t.Run(name, func(t *testing.T) {
			var n int64
			for _, spec := range all[name].Tensors() {
				size := int64(1)
				for _, d := range spec.Shape {
					size *= int64(d)
				}
				n += size
			}
			if n != want {
				t.Errorf("%s has %d weights, want %d", name, n, want)
			}
		})
	}
	if s := all["2 28B"].Text.AttnScale; s != float32(1.0/12) {
		t.Errorf("28B scales by %v", s)
	}
	if c := all["2 3B"]; c.Text.AttnScale != 1.0/16 || c.Vision.ImageSize != 224 || c.Text.SlidingWindow != 4096 {
		t.Errorf("%+v", c)
	}
}

// TestBitsPerWeight prints the table of the README (go test -run BitsPerWeight
// -v) and keeps every type to its name.
func TestBitsPerWeight(t *testing.T) {
	all := releases(t)
	names := []string{"3B", "2 3B", "2 10B", "2 28B"}
	limits := map[string]float64{
		"f32": 32, "bf16": 16.01, "f16": 16.01, "q8_0": 8.6, "q6_k": 6.75, "q5_1": 6.2, "q5_k_m": 6, "q5_0": 5.8, "q4_1": 5.4,
		"q4_k_m": 5.4, "q4_k_s": 5.1, "iq4_nl": 5.1, "q4_0": 5, "iq4_xs": 4.9, "q3_k_m": 4.6, "q2_k": 3.8,
	}
	var table strings.Builder
	for _, typ := range Types() {
		fmt.Fprintf(&table, "\n%-8s", typ.Name)
		for _, name := range names {
			plan, err := Plan(all[name], typ.Name)
			if err != nil {
				t.Fatal(err)
			}
			bits := bitsPerWeight(plan)
			fmt.Fprintf(&table, " %6.3f", bits)
			if limit, ok := limits[typ.Name]; !ok || bits > limit {
				t.Errorf("%s of %s has %.3f bits per weight, want at most %v", typ.Name, name, bits, limit)
			}
			for _, c := range plan {
				if wide := c.Type.BlockSize() == 1; c.Spec.Role == model.RoleMatrix && wide && len(typ.Name) > 3 && typ.Name != "bf16" {
					t.Errorf("%s of %s leaves %s at %v", typ.Name, name, c.Spec.Name, c.Type)
				}
				if c.Spec.Role == model.RoleMatrix && !ggml.MatrixType(c.Type) || c.Spec.Role == model.RoleVector && c.Type != gguf.TypeF32 {
					t.Errorf("%s of %s makes %s %v", typ.Name, name, c.Spec.Name, c.Type)
				}
			}
		}
	}
	t.Log("bits per weight, weights only: ", strings.Join(names, ", "), table.String())
}

func TestPolicy(t *testing.T) {
	all := releases(t)
	untied := all["3B"]
	untied.Tied = false
	cases := []struct {
		config      model.Config
		typ, tensor string
		want        gguf.Type
		stored      int64
		why         string
	}{
		// Whole blocks: the type that was asked for.
		{all["3B"], "q8_0", "blk.0.attn_q.weight", gguf.TypeQ8_0, 2048, ""},
		{all["3B"], "q4_k_m", "blk.0.ffn_up.weight", gguf.TypeQ4_K, 2048, ""},
		{all["3B"], "f16", "v.patch_embd.weight", gguf.TypeF16, 588, ""},
		{all["3B"], "f32", "v.blk.0.ffn_down.weight", gguf.TypeF32, 4304, ""},
		{all["3B"], "bf16", "token_embd.weight", gguf.TypeBF16, 2048, ""},
		// Vectors.
		{all["3B"], "q4_0", "blk.0.attn_norm.weight", gguf.TypeF32, 2048, "always f32"},
		{all["3B"], "q4_0", "v.position_embd.weight", gguf.TypeF32, 1152, "always f32"},
		{all["3B"], "f32", "v.position_embd.weight", gguf.TypeF32, 1152, ""},
		// SigLIP's widths.
		{all["3B"], "q4_k_m", "v.blk.5.attn_q.weight", gguf.TypeQ4_K, 1280, "rows padded 1152→1280"},
		{all["3B"], "q4_k_s", "v.blk.9.ffn_down.weight", gguf.TypeQ4_K, 4352, "rows padded 4304→4352"},
		{all["3B"], "q8_0", "v.blk.9.ffn_down.weight", gguf.TypeQ8_0, 4320, "rows padded 4304→4320"},
		{all["3B"], "q8_0", "v.blk.9.ffn_up.weight", gguf.TypeQ8_0, 1152, ""},
		{all["3B"], "q4_0", "v.patch_embd.weight", gguf.TypeQ4_0, 608, "rows padded 588→608"},
		{all["3B"], "q4_k_m", "v.patch_embd.weight", gguf.TypeQ5_0, 608, "q4_k does not fit rows of 588: q5_0, padded to 608"},
		{all["3B"], "q5_k_m", "v.patch_embd.weight", gguf.TypeQ5_1, 608, "q5_k does not fit rows of 588: q5_1, padded to 608"},
		{all["3B"], "q6_k", "v.patch_embd.weight", gguf.TypeQ8_0, 608, "q6_k does not fit rows of 588: q8_0, padded to 608"},
		{all["3B"], "q3_k_m", "v.patch_embd.weight", gguf.TypeIQ4_NL, 608, "q3_k does not fit rows of 588: iq4_nl, padded to 608"},
		{all["3B"], "q2_k", "v.patch_embd.weight", gguf.TypeIQ4_NL, 608, "q2_k does not fit rows of 588: iq4_nl, padded to 608"},
		{all["3B"], "iq4_xs", "v.patch_embd.weight", gguf.TypeIQ4_NL, 608, "iq4_xs does not fit rows of 588: iq4_nl, padded to 608"},
		{all["3B"], "q4_k_m", "mm.0.weight", gguf.TypeQ4_K, 1280, "rows padded 1152→1280"},
		// The embedding and the head.
		{all["3B"], "q4_k_m", "token_embd.weight", gguf.TypeQ6_K, 2048, "q6_k here in q4_k_m"},
		{all["3B"], "q4_0", "token_embd.weight", gguf.TypeQ6_K, 2048, "q6_k here in q4_0"},
		{all["3B"], "q8_0", "token_embd.weight", gguf.TypeQ8_0, 2048, ""},
		{untied, "q4_k_m", "token_embd.weight", gguf.TypeQ4_K, 2048, ""},
		{untied, "q4_k_m", "output.weight", gguf.TypeQ6_K, 2048, "q6_k here in q4_k_m"},
		// The mixes: 18 layers, 18/8 = 2.
		{all["3B"], "q4_k_m", "blk.0.attn_v.weight", gguf.TypeQ6_K, 2048, "q6_k here in q4_k_m"},
		{all["3B"], "q4_k_m", "blk.2.ffn_down.weight", gguf.TypeQ4_K, 16384, ""},
		{all["3B"], "q4_k_m", "blk.4.ffn_down.weight", gguf.TypeQ6_K, 16384, "q6_k here in q4_k_m"},
		{all["3B"], "q4_k_m", "blk.15.ffn_down.weight", gguf.TypeQ6_K, 16384, "q6_k here in q4_k_m"},
		{all["3B"], "q5_k_m", "blk.4.attn_v.weight", gguf.TypeQ6_K, 2048, "q6_k here in q5_k_m"},
		{all["3B"], "q5_k_m", "blk.3.attn_v.weight", gguf.TypeQ5_K, 2048, ""},
		{all["3B"], "q4_k_m", "v.blk.26.ffn_down.weight", gguf.TypeQ6_K, 4352, "q6_k here in q4_k_m; rows padded 4304→4352"},
		{all["3B"], "q4_k_s", "blk.3.attn_v.weight", gguf.TypeQ5_K, 2048, "q5_k here in q4_k_s"},
		{all["3B"], "q4_k_s", "blk.4.attn_v.weight", gguf.TypeQ4_K, 2048, ""},
		{all["3B"], "q3_k_m", "blk.1.attn_v.weight", gguf.TypeQ5_K, 2048, "q5_k here in q3_k_m"},
		{all["3B"], "q3_k_m", "blk.2.attn_v.weight", gguf.TypeQ4_K, 2048, "q4_k here in q3_k_m"},
		{all["3B"], "q3_k_m", "blk.0.ffn_down.weight", gguf.TypeQ5_K, 16384, "q5_k here in q3_k_m"},
		{all["3B"], "q3_k_m", "blk.1.ffn_down.weight", gguf.TypeQ4_K, 16384, "q4_k here in q3_k_m"},
		{all["3B"], "q3_k_m", "v.blk.1.attn_out.weight", gguf.TypeQ4_K, 1280, "q4_k here in q3_k_m; rows padded 1152→1280"},
		{all["3B"], "q2_k", "blk.9.attn_v.weight", gguf.TypeQ4_K, 2048, "q4_k here in q2_k"},
		{all["2 3B"], "q2_k", "blk.9.attn_v.weight", gguf.TypeQ3_K, 2304, "q3_k here in q2_k"},
		{all["2 3B"], "q2_k", "blk.9.attn_output.weight", gguf.TypeQ3_K, 2048, "q3_k here in q2_k"},
		{all["3B"], "iq4_nl", "blk.9.attn_v.weight", gguf.TypeQ5_K, 2048, "q5_k here in iq4_nl"},
		{all["3B"], "iq4_xs", "blk.1.ffn_down.weight", gguf.TypeQ5_K, 16384, "q5_k here in iq4_xs"},
		{all["3B"], "iq4_xs", "blk.2.ffn_down.weight", gguf.TypeIQ4_XS, 16384, ""},
		{all["2 28B"], "q4_k_m", "blk.20.ffn_gate.weight", gguf.TypeQ4_K, 4608, ""},
	}
	for _, c := range cases {
		plan, err := Plan(c.config, c.typ)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, got := range plan {
			if got.Spec.Name != c.tensor {
				continue
			}
			found = true
			if got.Type != c.want || got.Stored[0] != c.stored || got.Why != c.why {
				t.Errorf("%s %s: %v, rows of %d, %q; want %v, %d, %q", c.typ, c.tensor, got.Type, got.Stored[0], got.Why, c.want, c.stored, c.why)
			}
			if n, err := got.Type.RowBytes(got.Stored[0]); err != nil || got.Bytes%n != 0 {
				t.Errorf("%s %s: %d bytes in rows of %d, %v", c.typ, c.tensor, got.Bytes, n, err)
			}
		}
		if !found {
			t.Errorf("no tensor %s", c.tensor)
		}
	}
}

func TestTypes(t *testing.T) {
	want := "bf16 f16 f32 iq4_nl iq4_xs q2_k q3_k_m q4_0 q4_1 q4_k_m q4_k_s q5_0 q5_1 q5_k_m q6_k q8_0"
	have := map[string]bool{}
	for _, typ := range Types() {
		have[typ.Name] = typ.Description != ""
	}
	for name := range strings.FieldsSeq(want) {
		if !have[name] {
			t.Errorf("no type %s", name)
		}
	}
	if len(have) != 16 {
		t.Errorf("%d types", len(have))
	}
	if _, err := Plan(model.Config{}, "q9"); err == nil || !strings.Contains(err.Error(), `unknown type "q9", want one of f32, bf16`) {
		t.Error(err)
	}
}

// bitsPerWeight returns the size of a plan's tensors over the number of weights,
// padding not counted as weights.
func bitsPerWeight(plan []Choice) float64 {
	var bytes, weights int64
	for _, c := range plan {
		n := int64(1)
		for _, d := range c.Spec.Shape {
			n *= int64(d)
		}
		bytes += c.Bytes
		weights += n
	}
	return float64(bytes) * 8 / float64(weights)
}
