package model_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// zeros makes a model file of all-zero F16 weights in memory.
func zeros(t testing.TB, c model.Config) *gguf.File {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	var w gguf.Writer
	c.SetKeys(&w)
	w.SetStrings(gguf.KeyTokens, make([]string, c.Tokens.Pieces))
	for _, s := range c.Tensors() {
		var shape []int64
		for _, d := range s.Shape {
			shape = append(shape, int64(d))
		}
		typ := gguf.TypeF32
		if s.Role == model.RoleMatrix {
			typ = gguf.TypeF16
		}
		if err := w.AddTensor(s.Name, typ, shape...); err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	err := w.Encode(&buf, func(t gguf.Tensor, dst io.Writer) error {
		_, err := dst.Write(make([]byte, t.Size))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.FromBytes("zeros", buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// narrow is a configuration with the layers and heads given and next to no width.
func narrow(layers, heads, kv int) model.Config {
	return model.Config{
		Arch: model.ArchPaliGemma2, Tied: true,
		Text: model.TextConfig{
			Hidden: 32, MLP: 32, Layers: layers, Heads: heads, KVHeads: kv, HeadDim: 2, Vocab: 64, Context: 8192,
			RMSEps: 1e-6, RopeTheta: 10000, AttnScale: 1, AttnSoftcap: 50, FinalSoftcap: 30, SlidingWindow: 4096,
		},
		Vision: model.VisionConfig{
			ImageSize: 14, PatchSize: 14, Hidden: 32, MLP: 32, Layers: 1, Heads: 1, NormEps: 1e-6, ImageTokens: 1,
			Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.5, 0.5, 0.5},
		},
		Tokens: model.TokenConfig{BOS: 2, EOS: 1, UNK: 3, Image: 4, Pieces: 64},
	}
}

// TestLargeGraphs builds the graphs of the deepest models on long prompts, and
// stops before they are computed: ggml aborts on a graph beyond its limits.
func TestLargeGraphs(t *testing.T) {
	for name, c := range map[string]struct {
		config model.Config
		tokens int
	}{
		"28B on a long prompt": {narrow(46, 32, 16), 6000},
		"10B on a long prompt": {narrow(42, 16, 8), 6000},
		"most layers":          {narrow(256, 1, 1), 4},
	} {
		t.Run(name, func(t *testing.T) {
			f := zeros(t, c.config)
			e, err := ggml.NewBackend(onCPU(t))
			if err != nil {
				t.Fatal(err)
			}
			m, err := model.Load(f, e)
			if err != nil {
				t.Fatal(err)
			}
			ids := make([]int, c.tokens)
			for i := range ids {
				ids[i] = 5
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			_, err = m.Generate(ctx, model.Prompt{IDs: ids}, model.GenerateOptions{MaxTokens: 1})
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			m.Close()
			e.Close()
		})
	}
}

func TestTooManyLayers(t *testing.T) {
	c := narrow(257, 1, 1)
	if err := c.Validate(); err == nil {
		t.Error(fmt.Sprint(c.Text.Layers), "layers: no error")
	}
}
