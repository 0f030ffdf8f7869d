package convert

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/atomicfile"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
	reader "paligemma/internal/tokenizer"
)

// TestEveryBlock compares every tensor of every type with ggml's own quantizer
// applied to the whole padded tensor, and what the file says with the
// configuration.
func TestEveryBlock(t *testing.T) {
	for _, name := range tiny {
		src := load(t, name)
		for _, typ := range Types() {
			f, report := run(t, tinyDir(name), Options{Type: typ.Name, chunk: 5000})
			config, err := model.ReadConfig(f.Header)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(config, report.Config) {
				t.Errorf("%s %s: the file's configuration is %+v, want %+v", name, typ.Name, config, report.Config)
			}
			specs := config.Tensors()
			if len(specs) != len(f.Tensors) || len(specs) != len(report.Rows) {
				t.Fatalf("%s %s: %d tensors and %d rows, want %d", name, typ.Name, len(f.Tensors), len(report.Rows), len(specs))
			}
			for i, spec := range specs {
				got, row := f.Tensors[i], report.Rows[i]
				want := []int64{model.PaddedRow(spec.Shape[0], got.Type)}
				for _, d := range spec.Shape[1:] {
					want = append(want, int64(d))
				}
				if got.Name != spec.Name || !slices.Equal(got.Shape, want) || !slices.Equal(row.Stored, want) || row.Type != got.Type || row.Bytes != got.Size {
					t.Errorf("%s %s: tensor %v, row %v, want %s %v", name, typ.Name, got, row, spec.Name, want)
				}
				if spec.Role == model.RoleMatrix != (got.Type != gguf.TypeF32) && typ.Name != "f32" {
					t.Errorf("%s %s: %s is %v", name, typ.Name, got.Name, got.Type)
				}
				rows := expected(t, floats(t, *src.find(row.Source)), got.Name, spec.Shape[0], int(want[0]))
				if !bytes.Equal(f.Data(got), quantize(t, got.Type, rows, int(want[0]))) {
					t.Errorf("%s %s: tensor %s is not what ggml makes", name, typ.Name, got.Name)
				}
			}
			if int64(len(f.Bytes())) != report.Size {
				t.Errorf("%d bytes, report says %d", len(f.Bytes()), report.Size)
			}
		}
	}
}

// expected applies 1 + w to RMSNorms and pads rows, told apart by name only.
func expected(t *testing.T, values []float32, name string, width, stored int) []float32 {
	t.Helper()
	rms := !strings.HasPrefix(name, "v.") && strings.HasSuffix(name, "norm.weight")
	var out []float32
	for i := 0; i < len(values); i += width {
		for _, v := range values[i : i+width] {
			if rms {
				v++
			}
			out = append(out, v)
		}
		out = append(out, make([]float32, stored-width)...)
	}
	return out
}

// TestSources pins names that a swap would not change the shapes of.
func TestSources(t *testing.T) {
	for name, pairs := range map[string]map[string]string{
		"pg1-tiny": {
			"blk.1.ffn_norm.weight": "language_model.model.layers.1.post_attention_layernorm.weight",
			"blk.1.attn_k.weight":   "language_model.model.layers.1.self_attn.k_proj.weight",
			"blk.1.attn_v.weight":   "language_model.model.layers.1.self_attn.v_proj.weight",
			"blk.1.ffn_gate.weight": "language_model.model.layers.1.mlp.gate_proj.weight",
			"v.blk.2.ln2.weight":    "vision_tower.encoder.layers.2.layer_norm2.weight",
			"v.blk.2.attn_k.bias":   "vision_tower.encoder.layers.2.self_attn.k_proj.bias",
			"mm.0.weight":           "multi_modal_projector.linear.weight",
		},
		"pg2-tiny": {
			"blk.3.attn_norm.weight":           "language_model.model.layers.3.input_layernorm.weight",
			"blk.3.post_attention_norm.weight": "language_model.model.layers.3.post_attention_layernorm.weight",
			"blk.3.ffn_norm.weight":            "language_model.model.layers.3.pre_feedforward_layernorm.weight",
			"blk.3.post_ffw_norm.weight":       "language_model.model.layers.3.post_feedforward_layernorm.weight",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, report := run(t, tinyDir(name), Options{Type: "f32"})
			for _, row := range report.Rows {
				if want, ok := pairs[row.Name]; ok && row.Source != want {
					t.Errorf("%s comes from %s, want %s", row.Name, row.Source, want)
				}
			}
		})
	}
}

// TestSameTensors converts one model as it may be saved.
func TestSameTensors(t *testing.T) {
	for _, name := range tiny {
		for _, typ := range []string{"f32", "q4_k_m"} {
			want, report := run(t, tinyDir(name), Options{Type: typ})
			t.Run(name+"/"+typ, func(t *testing.T) {
				for i, l := range layouts {
					c := load(t, name)
					c.rename(l)
					c.shards = i // none, or as many files
					got, _ := run(t, c.save(), Options{Type: typ})
					sameTensors(t, want, got)
				}
				c := load(t, name)
				c.rename(layouts[0])
				c.released()
				got, old := run(t, c.save(), Options{Type: typ})
				sameTensors(t, want, got)
				if !reflect.DeepEqual(old.Config, report.Config) {
					t.Errorf("released form gives %+v, want %+v", old.Config, report.Config)
				}
				for _, k := range want.Keys() {
					if k != reader.KeyJSON && !reflect.DeepEqual(want.Value(k), got.Value(k)) {
						t.Errorf("key %s differs", k)
					}
				}
			})
		}
	}
}

// TestPaths names one checkpoint by its folder, file and index.
func TestPaths(t *testing.T) {
	want, _ := run(t, tinyDir("pg2-tiny"), Options{})
	c := load(t, "pg2-tiny")
	one := c.save()
	c.shards = 3
	sharded := c.save()
	for _, path := range []string{
		filepath.Join(one, "model.safetensors"), sharded, filepath.Join(sharded, "model.safetensors.index.json"),
	} {
		got, _ := run(t, path, Options{Type: "Q8_0"})
		sameTensors(t, want, got)
	}
}

// TestRounded converts the checkpoint saved in 16 bits.
func TestRounded(t *testing.T) {
	for dtype, want := range map[safetensors.DType]struct {
		typ  gguf.Type
		bits float64
	}{safetensors.BF16: {gguf.TypeBF16, 8}, safetensors.F16: {gguf.TypeF16, 11}} {
		c := load(t, "pg2-tiny")
		c.round(dtype)
		dir := c.save()

		// Rounded to 16 bits before or after: the same matrices.
		exact, _ := run(t, tinyDir("pg2-tiny"), Options{Type: want.typ.String()})
		got, _ := run(t, dir, Options{Type: want.typ.String()})
		for _, x := range exact.Tensors {
			if y, _ := got.Lookup(x.Name); x.Type != gguf.TypeF32 && !bytes.Equal(exact.Data(x), got.Data(y)) {
				t.Errorf("%s: tensor %s differs", dtype, x.Name)
			}
		}
		// In f32: as near as the rounding lets them be.
		exact, _ = run(t, tinyDir("pg2-tiny"), Options{Type: "f32"})
		got, _ = run(t, dir, Options{Type: "f32"})
		for _, x := range exact.Tensors {
			y, _ := got.Lookup(x.Name)
			a, _ := safetensors.Float32s(safetensors.F32, exact.Data(x))
			b, _ := safetensors.Float32s(safetensors.F32, got.Data(y))
			for i := range a {
				v := float64(a[i])
				if strings.HasSuffix(x.Name, "norm.weight") {
					v-- // the norm's 1 was added to the rounded weight
				}
				if math.Abs(float64(a[i])-float64(b[i])) > math.Abs(v)*math.Exp2(-want.bits)+1e-7 {
					t.Fatalf("%s: tensor %s[%d] is %v, want %v", dtype, x.Name, i, b[i], a[i])
				}
			}
		}
	}
}

func TestDeterminism(t *testing.T) {
	for _, typ := range []string{"f32", "q5_k_m", "iq4_xs"} {
		want, _ := run(t, tinyDir("pg1-odd"), Options{Type: typ, Threads: 1})
		for i, opts := range []Options{{Threads: 1}, {Threads: 2, chunk: 1}, {Threads: 9, chunk: 3000}, {chunk: 200}} {
			opts.Type = typ
			got, _ := run(t, tinyDir("pg1-odd"), opts)
			if !bytes.Equal(want.Bytes(), got.Bytes()) {
				t.Errorf("%s, options %d:", typ, i)
				sameFile(t, want, got)
			}
		}
	}
}

func TestHead(t *testing.T) {
	base := load(t, "pg1-tiny")
	embedding := floats(t, *base.find("embed_tokens.weight"))
	shape := base.find("embed_tokens.weight").Shape
	other := slices.Clone(embedding)
	other[77] += 0.5
	cases := []struct {
		name, tensor string
		values       []float32
		tie          any // tie_word_embeddings; nil: not said
		tied         bool
		note         string
	}{
		{"separate", "lm_head.weight", other, false, false, ""},
		{"separate, old name", "language_model.lm_head.weight", other, false, false, ""},
		{"separate, config silent", "lm_head.weight", other, nil, false, "differs from the token embedding"},
		{"separate, config wrong", "lm_head.weight", other, true, false, "differs from the token embedding"},
		{"stored twice", "lm_head.weight", embedding, true, true, "stored once"},
		{"stored twice, said separate", "lm_head.weight", embedding, false, true, "stored once"},
		{"none", "", nil, nil, true, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ck := load(t, "pg1-tiny")
			for _, m := range []map[string]any{ck.config(), ck.text()} {
				delete(m, "tie_word_embeddings")
				if c.tie != nil {
					m["tie_word_embeddings"] = c.tie
				}
			}
			if c.tensor != "" {
				ck.add(c.tensor, shape, c.values)
			}
			f, report := run(t, ck.save(), Options{Type: "f32"})
			head, untied := f.Lookup(model.TensorHead)
			if untied == c.tied || report.Config.Tied != c.tied {
				t.Fatalf("head there: %v, tied: %v", untied, report.Config.Tied)
			}
			if untied && !bytes.Equal(f.Data(head), quantize(t, gguf.TypeF32, other, 64)) {
				t.Error("the head has other values")
			}
			if notes := strings.Join(report.Notes, "\n"); (notes == "") != (c.note == "") || !strings.Contains(notes, c.note) {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
		})
	}
	ck := load(t, "pg1-tiny")
	ck.config()["tie_word_embeddings"] = false
	fails(t, ck.save(), Options{}, "1 tensor is missing (lm_head.weight)")
}

// TestHarmless adds tensors that old versions saved and nothing reads.
func TestHarmless(t *testing.T) {
	want, _ := run(t, tinyDir("pg1-tiny"), Options{})
	c := load(t, "pg1-tiny")
	c.rename(layouts[0])
	c.vision()["vision_use_head"] = true
	c.add("vision_tower.vision_model.embeddings.position_ids", []int64{1, 16}, make([]float32, 16))
	c.add("vision_tower.vision_model.head.probe", []int64{1, 1, 48}, make([]float32, 48))
	c.add("language_model.model.layers.0.self_attn.rotary_emb.inv_freq", []int64{16}, make([]float32, 16))
	got, _ := run(t, c.save(), Options{})
	sameTensors(t, want, got)
}

func TestProgress(t *testing.T) {
	var last, total int64
	_, report := run(t, tinyDir("pg1-tiny"), Options{Progress: func(done, all int64) {
		if done <= last || total != 0 && all != total {
			t.Errorf("progress %d of %d after %d of %d", done, all, last, total)
		}
		last, total = done, all
	}})
	if last != total || total != report.Size {
		t.Errorf("ended at %d of %d, the file has %d", last, total, report.Size)
	}
}

func TestCancel(t *testing.T) {
	folder := t.TempDir()
	out := filepath.Join(folder, "out.gguf")
	ctx, cancel := context.WithCancel(context.Background())
	started := false
	_, err := Convert(ctx, tinyDir("pg1-tiny"), out, Options{Type: "f32", chunk: 64, Progress: func(done, total int64) {
		started = true
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || !started {
		t.Errorf("error %v, started %v", err, started)
	}
	if _, err := Convert(ctx, tinyDir("pg1-tiny"), out, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(folder); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOverwrite(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.gguf")
	if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Convert(context.Background(), tinyDir("pg1-tiny"), out, Options{}); !errors.Is(err, atomicfile.ErrExists) {
		t.Error(err)
	}
	if b, _ := os.ReadFile(out); string(b) != "old" {
		t.Error("the old file was touched")
	}
	if _, err := Convert(context.Background(), tinyDir("pg1-tiny"), out, Options{Overwrite: true}); err != nil {
		t.Error(err)
	}
	if f, err := gguf.Open(out, gguf.Options{}); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	c := load(t, "pg1-tiny")
	dir := c.save()
	weights := filepath.Join(dir, "model.safetensors")
	if _, err := Convert(context.Background(), dir, weights, Options{Overwrite: true}); err == nil || !strings.Contains(err.Error(), "one of the files that are read") {
		t.Error(err)
	}
}

func TestReport(t *testing.T) {
	_, report := run(t, tinyDir("pg1-odd"), Options{Type: "q4_k_m"})
	var b strings.Builder
	if err := report.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"v.patch_embd.weight", "q4_k does not fit rows of 588: q5_0, padded to 608",
		"blk.*.attn_norm.weight ×3", "blk.*.attn_v.weight ×2", "q6_k does not fit rows of 64: q8_0",
		"521,488 weights, 84 tensors (", "bits per weight",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "\n"); n > 50 {
		t.Errorf("%d lines for 84 tensors", n)
	}
}

func TestNames(t *testing.T) {
	for _, c := range [][3]string{
		{"some/dir/paligemma-3b", "q8_0", "paligemma-3b-q8_0.gguf"},
		{"dir/pt.safetensors", "Q4_K_M", "pt-q4_k_m.gguf"},
		{"dir/model.safetensors.index.json", "", "model-q8_0.gguf"},
		{"/", "f16", "model-f16.gguf"},
	} {
		if got := DefaultOutput(c[0], c[1]); got != c[2] {
			t.Errorf("DefaultOutput(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
	if got := DefaultOutput(".", "f32"); got != "convert-f32.gguf" {
		t.Errorf("of the current folder: %q", got)
	}
}

// TestHalf compares every float16 with ggml's conversion.
func TestHalf(t *testing.T) {
	raw := make([]byte, 2<<16)
	for h := range 1 << 16 {
		raw[2*h], raw[2*h+1] = byte(h), byte(h>>8)
	}
	got, want := make([]float32, 1<<16), make([]float32, 1<<16)
	if !safetensors.DecodeFloat32s(got, safetensors.F16, raw) {
		t.Fatal("F16 is not decoded")
	}
	if err := ggml.Dequantize(gguf.TypeF16, want, raw, 1<<16); err != nil {
		t.Fatal(err)
	}
	for h := range got {
		if got[h] != want[h] && !(got[h] != got[h] && want[h] != want[h]) {
			t.Fatalf("%04x is %v, want %v", h, got[h], want[h])
		}
	}
}
