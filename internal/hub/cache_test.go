package hub

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCache: files of the hub's cache are used, if they are sound, and stay.
func TestCache(t *testing.T) {
	s := newSetup(t)
	cache := t.TempDir()
	s.client.Cache = cache
	repository := filepath.Join(cache, "models--google--tiny")
	snapshot := filepath.Join(repository, "snapshots", s.Commit(id))
	for _, dir := range []string{snapshot, filepath.Join(repository, "blobs"), filepath.Join(repository, "refs")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	add := func(name string, data []byte) {
		t.Helper()
		e := s.Entry(name, s.files[name])
		hash := e.OID
		if e.LFS != nil {
			hash = e.LFS.OID
		}
		err := os.WriteFile(filepath.Join(repository, "blobs", hash), data, 0o600)
		os.Remove(filepath.Join(snapshot, name))
		if err = errors.Join(err, os.Symlink("../../blobs/"+hash, filepath.Join(snapshot, name))); err != nil {
			t.Fatal(err)
		}
	}
	add("model.safetensors", s.files["model.safetensors"])
	add("config.json", []byte("[]\n")) // of the right size
	add("empty.json", nil)
	if err := s.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.check(t)
	for _, line := range s.Requests() {
		if strings.Contains(line, "model.safetensors") {
			t.Error(line)
		}
	}
	if data, err := os.ReadFile(filepath.Join(snapshot, "config.json")); err != nil || string(data) != "[]\n" {
		t.Errorf("the cache has %q, %v now", data, err)
	}

	s.client.Offline = true
	before := len(s.Requests())
	var no *RefusedError
	if _, err := s.client.Snapshot(t.Context(), id, "main"); !errors.As(err, &no) {
		t.Errorf("no branch: %v", err)
	}
	if err := os.WriteFile(filepath.Join(repository, "refs", "main"), []byte(s.Commit(id)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.dir = t.TempDir()
	if err := s.fetch(t.Context()); !errors.As(err, &no) { // config.json is not sound
		t.Errorf("an unsound file: %v", err)
	}
	add("config.json", s.files["config.json"])
	if err := s.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.check(t)
	if n := len(s.Requests()) - before; n != 0 {
		t.Errorf("%d requests", n)
	}
}
