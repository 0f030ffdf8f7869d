package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// TestTooLarge: a model that is larger than any memory is refused before it is read,
// by every command that loads one, and --force tries.
func TestTooLarge(t *testing.T) {
	path := t.TempDir() + "/large.gguf"
	if err := writeLarge(path, fixture(t, "MODEL")); err != nil {
		t.Fatal(err)
	}
	scene := fixture(t, "IMAGES") + "/scene.png"
	for _, args := range [][]string{
		{"caption", scene}, {"generate", "--prompt", "x"}, {"detect", "cat", scene}, {"bench", scene},
		{"forward", "--prompt", "x", "-o", "x"}, {"score", scene, "--prompt", "x", "--suffix", "y"}, {"caption", scene, "--no-mmap"},
	} {
		args = append(args, "-m", path)
		code, _, errs := runArgs(t, t.Context(), false, args...)
		if code != exitFailed || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, path+": not enough memory: needs ") {
			t.Errorf("%v: exit code %d, %q", args, code, errs)
		}
	}
	code, _, errs := runArgs(t, t.Context(), false, "caption", scene, "-m", path, "--force")
	if code != exitModel || strings.Contains(errs, "memory") {
		t.Errorf("--force: exit code %d, %q", code, errs)
	}
}

// writeLarge writes the header of a model that needs terabytes for its cache.
func writeLarge(path, from string) error {
	m, err := gguf.Open(from, gguf.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	c, err := model.ReadConfig(m.Header)
	if err != nil {
		return err
	}
	c.Text.Layers, c.Text.Heads, c.Text.KVHeads, c.Text.HeadDim = 256, 4096, 4096, 256
	c.Text.Context = 1 << 20
	c.Vision.ImageSize, c.Vision.PatchSize, c.Vision.ImageTokens = 4096, 32, 128*128
	var w gguf.Writer
	c.SetKeys(&w)
	var b bytes.Buffer
	if err := w.Encode(&b, nil); err != nil {
		return err
	}
	set, err := gguf.FromBytes(path, b.Bytes())
	if err != nil {
		return err
	}
	for _, key := range m.Keys() {
		if !set.Has(key) {
			w.CopyKey(m.Header, key)
		}
	}
	b.Reset()
	if err := w.Encode(&b, nil); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}
