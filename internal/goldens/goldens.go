// Package goldens reads the golden pictures of testdata/images, for tests only.
package goldens

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// Images is the folder of the pictures, from a package in internal.
const Images = "../../testdata/images"

// Picture is a golden picture.
type Picture struct {
	W, H int
	Pix  []byte // [H][W][3]
}

// Read reads a file of golden pictures (see testdata/README.md) by their names:
// gzip of a line "name width height" and width·height·3 samples, for each.
func Read(t testing.TB, file string) map[string]Picture {
	t.Helper()
	f, err := os.Open(filepath.Join(Images, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(z)
	out := map[string]Picture{}
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF && line == "" {
			return out
		}
		var name string
		var p Picture
		if _, err := fmt.Sscanf(line, "%s %d %d", &name, &p.W, &p.H); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		p.Pix = make([]byte, 3*p.W*p.H)
		if _, err := io.ReadFull(r, p.Pix); err != nil {
			t.Fatalf("%s: %s: %v", file, name, err)
		}
		out[name] = p
	}
}

// File returns the bytes of a picture file.
func File(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Images, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Glob returns the paths of the files that match one of the patterns, and fails
// if there are fewer than least.
func Glob(t testing.TB, least int, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(Images, pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, files...)
	}
	if len(all) < least {
		t.Fatalf("%d files of %q, want %d", len(all), patterns, least)
	}
	return all
}
