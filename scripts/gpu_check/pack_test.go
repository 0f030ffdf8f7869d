package main

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestTar(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	want := map[string]string{"bin/paligemma": "program", "testdata/a/b": "", "internal/x": string(make([]byte, 5<<20))}
	for name, text := range want {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := files(from, func(string) bool { return true })
	if err != nil || len(paths) != 3 || filepath.Base(paths[0]) != "x" {
		t.Fatalf("%v %v", paths, err)
	}
	var b bytes.Buffer
	if err := writeTar(&b, from, paths); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := extract(exec.Command("cat", file), to); err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || string(got) != text {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if info, err := os.Stat(filepath.Join(to, "bin/paligemma")); err != nil || info.Mode().Perm()&0o500 != 0o500 {
		t.Errorf("%v %v", info, err)
	}
	if err := extract(exec.Command("sh", "-c", "echo broken >&2; exit 3"), to); err == nil || err.Error() != "broken" {
		t.Errorf("error %v", err)
	}
}

func TestTarNames(t *testing.T) {
	for _, h := range []tar.Header{{Name: "../x", Mode: 0o644}, {Name: "/x", Mode: 0o644}, {Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc"}} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if err := readTar(&b, t.TempDir()); err == nil {
			t.Errorf("%s is unpacked", h.Name)
		}
	}
}

func TestPlugins(t *testing.T) {
	for path, want := range map[string]bool{"/a/bin/libggml-cuda-0123456789ab.so": true, "/a/bin/paligemma": false, "/libggml-x/bin/paligemma": false} {
		if isPlugin(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}
