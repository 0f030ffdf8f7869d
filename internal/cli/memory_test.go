package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/limits"
	"paligemma/internal/model"
)

func TestNeed(t *testing.T) {
	const gib = 1 << 30
	all := limits.Memory{Physical: limits.Unlimited, Address: limits.Unlimited, Data: limits.Unlimited}
	with := func(set func(m *limits.Memory)) limits.Memory {
		m := all
		set(&m)
		return m
	}
	for _, c := range []struct {
		name string
		need need
		free limits.Memory
		want string
	}{
		{"no limits", need{mapped: 100 * gib, own: gib}, all, ""},
		{"it fits", need{mapped: 2 * gib, own: gib}, with(func(m *limits.Memory) { m.Physical = 3 * gib }), ""},
		{"mapped counts", need{mapped: 2*gib + 1, own: gib}, with(func(m *limits.Memory) { m.Physical = 3 * gib }), "needs 3.0 GiB, has 3.0 GiB"},
		{"address space", need{mapped: 2 * gib}, with(func(m *limits.Memory) { m.Address = 2 * gib }), "needs 3.0 GiB, has 2.0 GiB"},
		{"mapped is no data", need{mapped: 2 * gib, own: gib}, with(func(m *limits.Memory) { m.Data = gib }), ""},
		{"data", need{own: 3 * gib}, with(func(m *limits.Memory) { m.Data = gib }), "needs 3.0 GiB, has 1.0 GiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.need.check(c.free)
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--force") || exitCode(modelError{err}) != exitFailed) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

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
		code, _, errs := run(t, t.Context(), false, args...)
		if code != exitFailed || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, path+": not enough memory: needs ") {
			t.Errorf("%v: exit code %d, %q", args, code, errs)
		}
	}
	code, _, errs := run(t, t.Context(), false, "caption", scene, "-m", path, "--force")
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
