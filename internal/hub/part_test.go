package hub

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSpans compares spans with a bitmap.
func TestSpans(t *testing.T) {
	const size = 40
	var s spans
	have := [size]bool{}
	for i := range 500 {
		from := int64((i * 7919) % size)
		to := min(size, from+1+int64(i*31%5))
		var want int64
		for j := from; j < to; j++ {
			if !have[j] {
				want++
			}
			have[j] = true
		}
		if got := s.add(span{from, to}); got != want {
			t.Fatalf("step %d: %d bytes gained, want %d", i, got, want)
		}
		if !s.valid(size) {
			t.Fatalf("step %d: %v", i, s)
		}
		missing := map[int64]bool{}
		for _, m := range s.missing(size, 3) {
			if m.to-m.from > 3 {
				t.Fatalf("a piece of %d", m.to-m.from)
			}
			for j := m.from; j < m.to; j++ {
				missing[j] = true
			}
		}
		for j := range have {
			if have[j] == missing[int64(j)] {
				t.Fatalf("step %d: byte %d is %v and %v", i, j, have[j], missing[int64(j)])
			}
		}
		if s.length() == size {
			s, have = nil, [size]bool{}
		}
	}
}

// TestState: what lies there from an earlier run is used if it can be right, and
// does no harm if it is not.
func TestState(t *testing.T) {
	s := newSetup(t)
	path := filepath.Join(s.dir, "model.safetensors")
	want := s.Entry("model.safetensors", s.files["model.safetensors"])
	state := func(text string) string {
		return strings.NewReplacer("SIZE", fmt.Sprint(want.Size), "SHA", want.LFS.OID).Replace(text)
	}
	half := make([]byte, want.Size)
	copy(half, s.files["model.safetensors"][:3<<20])
	for _, tt := range []struct{ name, state string }{
		{"right", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, 3145728]]}`)},
		{"right, of another tag", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "\"x\"", "have": [[0, 3145728]]}`)},
		{"says too much", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, SIZE]]}`)},
		{"of another file", state(`{"size": SIZE, "sha256": "0", "blob": "", "etag": "", "have": [[0, 1000]]}`)},
		{"beyond the end", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, 99999999]]}`)},
		{"overlapping", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, 10], [5, 20]]}`)},
		{"backwards", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[10, 0]]}`)},
		{"triples", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, 1, 2]]}`)},
		{"no json", "\x00"},
		{"empty", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			os.Remove(path)
			for name, data := range map[string][]byte{path + partSuffix: half, path + stateSuffix: []byte(tt.state)} {
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := len(s.Requests())
			if err := s.fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.check(t)
			asked := strings.Join(slices.DeleteFunc(s.Requests()[before:], func(line string) bool { return !strings.Contains(line, "/storage/") }), "\n")
			if again := strings.Contains(asked, "bytes=0-"); again == (tt.name == "right") {
				t.Errorf("asked:\n%s", asked)
			}
		})
	}
	for _, tt := range []struct {
		name string
		data []byte
	}{{"a wrong file", make([]byte, want.Size)}, {"a short file", []byte("x")}} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.check(t)
		})
	}
}
