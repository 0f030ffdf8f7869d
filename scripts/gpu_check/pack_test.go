package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPack packs programs that contain a file, unpacks them elsewhere, and restores them.
func TestPack(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	text := strings.Repeat("a model", 1000)
	file := filepath.Join(t.TempDir(), "model")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(file, text)
	want := map[string]string{"bin/paligemma": "begin" + text + "end", "bin/model.test": text, "gpu_check": "without"}
	for name, content := range want {
		write(filepath.Join(from, name), content)
	}
	if err := blank(from, file); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(from, "bin/paligemma")); err != nil || bytes.Contains(data, []byte("model")) {
		t.Errorf("the pack has the file, too: %v", err)
	}
	archive := filepath.Join(t.TempDir(), "a.tar.xz")
	if err := pack(t.Context(), from, archive); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := restore(to, file); err != nil {
		t.Fatal(err)
	}
	for name, content := range want {
		path := filepath.Join(to, name)
		if data, err := os.ReadFile(path); err != nil || string(data) != content {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o500 != 0o500 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	write(file, strings.ToUpper(text))
	if err := restore(to, file); err == nil || !strings.Contains(err.Error(), "prepare again") {
		t.Errorf("another file: %v", err)
	}
	if err := restore(t.TempDir(), file); err == nil || !strings.Contains(err.Error(), "unpack") {
		t.Errorf("nothing unpacked: %v", err)
	}
}
