package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// pairFiles are a model's two files in llama.cpp's layout, to be changed and saved.
type pairFiles struct {
	t            testing.TB
	text, vision *ggufFile
}

// ggufFile is a GGUF file in memory.
type ggufFile struct {
	keys    map[string]any
	tensors []ggufTensor
}

type ggufTensor struct {
	name   string
	typ    gguf.Type
	shape  []int64
	values []float32
}

// splitPair makes a pair of a tiny checkpoint, as llama.cpp's converters name things.
func splitPair(t testing.TB, name string) *pairFiles {
	t.Helper()
	f, report := run(t, tinyDir(name), Options{Type: "f32"})
	c := report.Config
	arch := map[string]string{"paligemma": "gemma", "paligemma2": "gemma2"}[c.Arch]
	p := &pairFiles{t, &ggufFile{keys: map[string]any{gguf.KeyArchitecture: arch}}, &ggufFile{keys: map[string]any{gguf.KeyArchitecture: "clip"}}}
	for key, v := range map[string]any{
		"block_count": c.Text.Layers, "embedding_length": c.Text.Hidden, "feed_forward_length": c.Text.MLP,
		"attention.head_count": c.Text.Heads, "attention.head_count_kv": c.Text.KVHeads, "attention.key_length": c.Text.HeadDim,
		"context_length": c.Text.Context, "attention.layer_norm_rms_epsilon": c.Text.RMSEps,
	} {
		p.text.keys[arch+"."+key] = v
	}
	if arch == "gemma2" {
		p.text.keys["gemma2.attn_logit_softcapping"] = c.Text.AttnSoftcap
		p.text.keys["gemma2.final_logit_softcapping"] = c.Text.FinalSoftcap
		p.text.keys["gemma2.attention.sliding_window"] = c.Text.SlidingWindow
	}
	v := c.Vision
	for key, value := range map[string]any{
		"clip.projector_type": "paligemma", "clip.vision.image_size": v.ImageSize, "clip.vision.patch_size": v.PatchSize,
		"clip.vision.embedding_length": v.Hidden, "clip.vision.feed_forward_length": v.MLP, "clip.vision.block_count": v.Layers,
		"clip.vision.attention.head_count": v.Heads, "clip.vision.attention.layer_norm_epsilon": v.NormEps,
		"clip.vision.image_mean": v.Mean[:], "clip.vision.image_std": v.Std[:],
	} {
		p.vision.keys[key] = value
	}
	for _, s := range f.Tensors {
		tensor := ggufTensor{name: s.Name, typ: gguf.TypeF32, shape: s.Shape, values: make([]float32, s.Size/4)}
		if err := ggml.Dequantize(s.Type, tensor.values, f.Data(s), int(s.Shape[0])); err != nil {
			t.Fatal(err)
		}
		if s.Name == "v.patch_embd.weight" {
			p := int64(v.PatchSize)
			tensor.shape = []int64{p, p, 3, int64(v.Hidden)}
		}
		part := p.text
		if strings.HasPrefix(s.Name, "v.") || strings.HasPrefix(s.Name, "mm.") {
			part = p.vision
		}
		part.tensors = append(part.tensors, tensor)
	}
	return p
}

// rename changes the names of tensors.
func (f *ggufFile) rename(pairs ...string) {
	r := strings.NewReplacer(pairs...)
	for i := range f.tensors {
		f.tensors[i].name = r.Replace(f.tensors[i].name)
	}
}

// drop removes the tensors whose names contain a part.
func (f *ggufFile) drop(part string) {
	f.tensors = slices.DeleteFunc(f.tensors, func(t ggufTensor) bool { return strings.Contains(t.name, part) })
}

// save writes the file.
func (f *ggufFile) save(t testing.TB, path string) string {
	t.Helper()
	var w gguf.Writer
	for key, v := range f.keys {
		switch v := v.(type) {
		case int:
			w.SetUint32(key, uint32(v))
		case float32:
			w.SetFloat32(key, v)
		case string:
			w.SetString(key, v)
		case []float32:
			w.SetFloat32s(key, v)
		}
	}
	for _, s := range f.tensors {
		if err := w.AddTensor(s.name, s.typ, s.shape...); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	i := 0
	err := w.Encode(&b, func(_ gguf.Tensor, dst io.Writer) error {
		s := f.tensors[i]
		i++
		_, err := dst.Write(quantize(t, s.typ, s.values, int(s.shape[0])))
		return err
	})
	if err == nil {
		err = os.WriteFile(path, b.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// options saves both files and returns the language model's path and what converts it.
func (p *pairFiles) options() (string, Options) {
	dir := p.t.TempDir()
	return p.text.save(p.t, filepath.Join(dir, "text.gguf")), Options{
		Type: "f32", Projector: p.vision.save(p.t, filepath.Join(dir, "mmproj.gguf")), Tokenizer: tinyDir("pg1-tiny"),
	}
}

// TestPair converts pairs in the layouts of llama.cpp's branches for PaliGemma.
func TestPair(t *testing.T) {
	for _, name := range tiny {
		want, base := run(t, tinyDir(name), Options{Type: "f32"})
		for _, test := range []struct {
			name   string
			change func(p *pairFiles)
			note   string
		}{
			{"of 2026", func(*pairFiles) {}, ""},
			{"mm.input_projection", func(p *pairFiles) { p.vision.rename("mm.0.", "mm.input_projection.") }, ""},
			{"of 2024", func(p *pairFiles) {
				p.vision.rename(".ffn_up.", ".ffn_down.", ".ffn_down.", ".ffn_up.")
				p.vision.keys["clip.projector_type"] = "mlp"
				p.vision.keys["clip.embeddings_scale"] = float32(0.125)
				p.vision.keys["clip.vision.block_count"] = 2
			}, ""},
			{"no scale", func(p *pairFiles) { p.vision.keys["clip.projector_type"] = "mlp" }, "how the projector is scaled"},
			{"16 bits of what fits", func(p *pairFiles) {
				for i := range p.vision.tensors {
					if s := &p.vision.tensors[i]; strings.HasPrefix(s.name, "v.position") {
						s.typ = gguf.TypeF32
					}
				}
			}, ""},
		} {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				p := splitPair(t, name)
				test.change(p)
				path, opts := p.options()
				got, report := run(t, path, opts)
				sameTensors(t, want, got)
				config := report.Config
				config.Text.AttnScale = base.Config.Text.AttnScale // which no key says
				if fmt.Sprint(config) != fmt.Sprint(base.Config) {
					t.Errorf("%+v\nwant %+v", config, base.Config)
				}
				if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, test.note) || test.note == "" && notes != "" {
					t.Errorf("notes %q, want %q", notes, test.note)
				}
			})
		}
	}
}

// TestRefusePairs: a pair that is not a whole PaliGemma is refused by what it is.
func TestRefusePairs(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(p *pairFiles)
		want   []string
	}{
		{"no post_ln", func(p *pairFiles) { p.vision.drop("post_ln") }, []string{"2 tensors are missing", "post_layernorm", "not a whole PaliGemma"}},
		{"a second projector", func(p *pairFiles) {
			p.vision.tensors = append(p.vision.tensors, ggufTensor{"mm.2.weight", gguf.TypeF32, []int64{2}, []float32{1, 2}})
		}, []string{"1 tensor is unknown", "mm.2.weight"}},
		{"quantized", func(p *pairFiles) { p.text.tensors[0].typ = gguf.TypeQ8_0 }, []string{"q8_0", "quantized already", "f16"}},
		{"another width", func(p *pairFiles) { p.text.keys["gemma.embedding_length"] = 32 }, []string{"wrong shape", "do not belong together"}},
		{"no key", func(p *pairFiles) { delete(p.text.keys, "gemma.block_count") }, []string{"gemma.block_count", "missing"}},
		{"no key of the tower", func(p *pairFiles) { delete(p.vision.keys, "clip.vision.patch_size") }, []string{"clip.vision.patch_size", "missing"}},
		{"two means", func(p *pairFiles) { p.vision.keys["clip.vision.image_mean"] = []float32{1, 2} }, []string{"image_mean", "want 3"}},
		{"patches of 0", func(p *pairFiles) { p.vision.keys["clip.vision.patch_size"] = 0 }, []string{"patch"}},
		{"llama", func(p *pairFiles) { p.text.keys[gguf.KeyArchitecture] = "llama" }, []string{"llama", "want gemma"}},
		{"both the vision part", func(p *pairFiles) { p.text = p.vision }, []string{"this is the vision part"}},
		{"both the language model", func(p *pairFiles) { p.vision = p.text }, []string{"--mmproj", "want clip"}},
		{"a name twice", func(p *pairFiles) {
			p.vision.tensors = append(p.vision.tensors, ggufTensor{"mm.input_projection.bias", gguf.TypeF32, []int64{64}, make([]float32, 64)})
		}, []string{"twice"}},
		{"more layers than tensors", func(p *pairFiles) { p.text.keys["gemma.block_count"] = 4 }, []string{"missing"}},
		{"billions of layers", func(p *pairFiles) { p.text.keys["gemma.block_count"] = 1 << 31 }, []string{"layers"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := splitPair(t, "pg1-tiny")
			test.change(p)
			path, opts := p.options()
			isSentence(t, fails(t, path, opts, test.want...))
		})
	}
}

// TestHalvesOfPairs: what to type where one file of a pair is named.
func TestHalvesOfPairs(t *testing.T) {
	path, opts := splitPair(t, "pg1-tiny").options()
	isSentence(t, fails(t, path, Options{}, "language model", "--mmproj"))
	isSentence(t, fails(t, opts.Projector, Options{}, "vision part", "--mmproj"))
	out := &OutputError{}
	opts.Overwrite = true
	if _, err := Convert(context.Background(), path, opts.Projector, opts); !errors.As(err, &out) {
		t.Errorf("the output is an input: %v", err)
	}
}
