package model_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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

// TestLargeGraphs builds the graphs of the deepest models: ggml aborts on a graph beyond its
// limits. Those of long prompts are stopped as soon as they are computed.
func TestLargeGraphs(t *testing.T) {
	for name, c := range map[string]struct {
		config model.Config
		tokens int
		want   error
	}{
		"28B on a long prompt": {narrow(46, 32, 16), 6000, context.Canceled},
		"10B on a long prompt": {narrow(42, 16, 8), 6000, context.Canceled},
		"most layers":          {narrow(256, 1, 1), 4, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, backend := loadOn(t, zeros(t, c.config), onCPU(t))
			ctx := t.Context()
			if c.want != nil {
				ctx = untilComputing(t, backend)
			}
			prompt := model.Prompt{IDs: slices.Repeat([]int{5}, c.tokens)}
			if _, err := m.Generate(ctx, prompt, model.GenerateOptions{MaxTokens: 1}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// untilComputing returns a context that is canceled when a graph has been built and given
// its memory, and its first operations are computed.
func untilComputing(t *testing.T, backend *ggml.Backend) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && backend.Progress().Total == 0 {
			time.Sleep(100 * time.Microsecond)
		}
		cancel()
	}()
	t.Cleanup(func() { cancel(); <-done }) // before the backend is closed
	return ctx
}

func TestTooManyLayers(t *testing.T) {
	c := narrow(257, 1, 1)
	if err := c.Validate(); err == nil {
		t.Error(fmt.Sprint(c.Text.Layers), "layers: no error")
	}
}
