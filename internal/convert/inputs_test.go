package convert

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/gguf"
)

// TestOutputIsAnInput replaces no file that a conversion reads, under whatever name.
func TestOutputIsAnInput(t *testing.T) {
	dir, lora, elsewhere := load(t, "pg1-tiny").save(), t.TempDir(), t.TempDir()
	copyFiles(t, [][2]string{
		{filepath.Join(adapterDir("lora"), "adapter_config.json"), filepath.Join(lora, "adapter_config.json")},
		{filepath.Join(adapterDir("lora"), "adapter_model.safetensors"), filepath.Join(lora, "adapter_model.safetensors")},
		{filepath.Join(dir, "tokenizer.json"), filepath.Join(elsewhere, "tokenizer.json")},
		{filepath.Join(dir, "tokenizer.json"), filepath.Join(elsewhere, "codec.npz")},
		{filepath.Join(dir, "tokenizer.json"), filepath.Join(elsewhere, "big.npz")},
		{filepath.Join(dir, "tokenizer.json"), filepath.Join(elsewhere, "text.gguf")},
		{filepath.Join(dir, "tokenizer.json"), filepath.Join(elsewhere, "mmproj.gguf")},
	})
	link := filepath.Join(t.TempDir(), "link.gguf")
	if err := os.Symlink(filepath.Join(dir, "model.safetensors"), link); err != nil {
		t.Fatal(err)
	}
	opts := Options{Type: "f32", Overwrite: true, Tokenizer: elsewhere, Adapters: []adapter.Loaded{openAdapter(t, lora, 1)}}
	pair := Options{Overwrite: true, Projector: filepath.Join(elsewhere, "mmproj.gguf")}
	for name, test := range map[string]struct {
		checkpoint, out string
		opts            Options
	}{
		"the weights":        {dir, filepath.Join(dir, "model.safetensors"), opts},
		"a link to them":     {dir, link, opts},
		"the configuration":  {dir, filepath.Join(dir, "config.json"), opts},
		"the tokenizer":      {dir, filepath.Join(dir, "tokenizer.json"), Options{Overwrite: true}},
		"another tokenizer":  {dir, filepath.Join(elsewhere, "tokenizer.json"), opts},
		"an adapter":         {dir, filepath.Join(lora, "adapter_model.safetensors"), opts},
		"its configuration":  {dir, filepath.Join(lora, "adapter_config.json"), opts},
		"the mask decoder":   {dir, filepath.Join(elsewhere, "codec.npz"), Options{Overwrite: true, MaskDecoder: filepath.Join(elsewhere, "codec.npz")}},
		"an npz":             {filepath.Join(elsewhere, "big.npz"), filepath.Join(elsewhere, "big.npz"), Options{Overwrite: true}},
		"a language model":   {filepath.Join(elsewhere, "text.gguf"), filepath.Join(elsewhere, "text.gguf"), pair},
		"its vision part":    {filepath.Join(elsewhere, "text.gguf"), pair.Projector, pair},
		"what is next to it": {filepath.Join(elsewhere, "big.npz"), filepath.Join(elsewhere, "tokenizer.json"), Options{Overwrite: true}},
	} {
		t.Run(name, func(t *testing.T) {
			keeps(t, test.out, func() error {
				_, err := Convert(t.Context(), test.checkpoint, test.out, test.opts)
				return err
			})
		})
	}
	src, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	for _, path := range opts.Adapters[0].Files() {
		t.Run("quantize/"+filepath.Base(path), func(t *testing.T) {
			keeps(t, path, func() error {
				_, err := Quantize(t.Context(), src, path, QuantizeOptions{Type: "f16", Overwrite: true, Adapters: opts.Adapters})
				return err
			})
		})
	}
	out := filepath.Join(dir, "model.gguf") // in the same folder, and a file of its own
	if err := os.WriteFile(out, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Convert(t.Context(), dir, out, opts); err != nil {
		t.Error(err)
	}
	if f, err := gguf.Open(out, gguf.Options{}); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}

// copyFiles copies files, each from the first of two paths to the second.
func copyFiles(t *testing.T, paths [][2]string) {
	t.Helper()
	for _, p := range paths {
		b, err := os.ReadFile(p[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p[1], b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// keeps wants an OutputError, and the file as it was.
func keeps(t *testing.T, path string, write func() error) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var output *OutputError
	if err := write(); !errors.As(err, &output) {
		t.Errorf("%v is not an OutputError", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed: %v", err)
	}
}
