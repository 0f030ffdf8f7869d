package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIsRegular checks which inputs may be of any size that fits: regular files,
// standard input too if it is one.
func TestIsRegular(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pipe, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer end.Close()
	for _, test := range []struct {
		name, path string
		a          app
		want       bool
	}{
		{"file", path, app{}, true},
		{"folder", filepath.Dir(path), app{}, false},
		{"missing", path + "x", app{}, false},
		{"redirected", stdinName, app{Streams: Streams{In: file}}, true},
		{"pipe", stdinName, app{Streams: Streams{In: pipe}}, false},
		{"reader", stdinName, app{Streams: Streams{In: strings.NewReader("")}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.a.isRegular(test.path); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
