package convert

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// convertFuzzed converts files that may be anything: either nothing is written and the
// error has one line, or the model is whole.
func convertFuzzed(t *testing.T, path string, opts Options) {
	t.Helper()
	opts.Threads = 1
	dir := t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	if _, err := Convert(context.Background(), path, out, opts); err != nil {
		if text := err.Error(); strings.Contains(text, "\n") || len(text) > 500+len(path) {
			t.Errorf("error %q", text)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		return
	}
	f, err := gguf.Open(out, gguf.Options{NoMmap: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	config, err := model.ReadConfig(f.Header)
	if err == nil {
		err = config.CheckTensors(f.Header)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzPair changes single bytes of the headers of a pair, and cuts it: what comes of it
// is an error, or a whole model.
func FuzzPair(f *testing.F) {
	type half struct {
		data   []byte
		header int
	}
	var halves []half
	path, opts := splitPair(f, "pg1-tiny").options()
	for _, path := range []string{path, opts.Projector} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		file, err := gguf.FromBytes("half", data)
		if err != nil {
			f.Fatal(err)
		}
		halves = append(halves, half{data, int(file.DataOffset)})
	}
	f.Add([]byte{0, 0, 8, 1}, uint32(0))
	f.Add([]byte{1, 2, 0, 0xff, 0, 2, 1, 3}, uint32(0))
	f.Add([]byte{}, uint32(1000))
	f.Fuzz(func(t *testing.T, edits []byte, cut uint32) {
		dir := t.TempDir()
		var paths []string
		data := [][]byte{bytes.Clone(halves[0].data), bytes.Clone(halves[1].data)}
		for ; len(edits) >= 4; edits = edits[4:] {
			which := edits[0] & 1
			at := int(binary.BigEndian.Uint16(edits[1:])) % halves[which].header
			data[which][at] = edits[3]
		}
		data[cut&1] = data[cut&1][:len(data[cut&1])-int(cut>>1)%len(data[cut&1])]
		for i, name := range []string{"text.gguf", "mmproj.gguf"} {
			paths = append(paths, filepath.Join(dir, name))
			if err := os.WriteFile(paths[i], data[i], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		convertFuzzed(t, paths[0], Options{Type: "f32", Projector: paths[1], Tokenizer: opts.Tokenizer})
	})
}

// FuzzBigVision changes the arrays of a checkpoint, each edit one of them: its shape, its
// type, its name, its values, or all of it.
func FuzzBigVision(f *testing.F) {
	original := toBigVision(f, "pg1-tiny", "params/")
	names := slices.Sorted(maps.Keys(original))
	types := []string{"<f4", "<f8", "|V2", "<f2", "<i4", "|b1"}
	f.Add([]byte{0, 0, 1, 2})
	f.Add([]byte{3, 1, 0, 0, 4, 2, 1, 9})
	f.Add([]byte{1, 7, 2, 0, 5, 7, 0, 4})
	f.Add([]byte{2, 9, 0, 3, 6, 9, 1, 0})
	f.Fuzz(func(t *testing.T, edits []byte) {
		a := arrays{}
		for name, x := range original {
			a[name] = &array{slices.Clone(x.shape), x.values, x.dtype}
		}
		for ; len(edits) >= 4; edits = edits[4:] {
			name := names[int(edits[1])%len(names)]
			x := a[name]
			if x == nil {
				continue
			}
			axis, value := int(edits[2])%max(1, len(x.shape)), edits[3]
			switch edits[0] % 7 {
			case 0:
				x.shape[axis] = int(value)
			case 1:
				x.shape = append(x.shape, int(value))
			case 2:
				x.dtype = types[int(value)%len(types)]
			case 3:
				delete(a, name)
			case 4:
				delete(a, name)
				a[names[int(value)%len(names)]] = x
			case 5:
				other := (axis + int(value)) % len(x.shape)
				x.shape[axis], x.shape[other] = x.shape[other], x.shape[axis]
			case 6:
				x.values = slices.Clone(x.values)
				x.values[int(value)%len(x.values)] = float32(math.NaN())
			}
		}
		for _, x := range a {
			x.fit()
		}
		convertFuzzed(t, a.save(t, filepath.Join(t.TempDir(), "pt.npz")), Options{Type: "f32", Tokenizer: tinyDir("pg1-tiny")})
	})
}

// fit gives an array as many values as its shape says, within reason.
func (x *array) fit() {
	const most = 1 << 20
	n := 1
	for _, d := range x.shape {
		n = min(n*d, most)
	}
	x.values = slices.Clone(x.values[:min(n, len(x.values))])
	x.values = append(x.values, make([]float32, n-len(x.values))...)
}
