package adapter

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// tiny is the configuration of testdata's pg1-tiny.
func tiny() model.Config {
	return model.Config{
		Arch: model.ArchPaliGemma, Name: "pg1-tiny", Tied: true,
		Text:   model.TextConfig{Hidden: 64, MLP: 128, Layers: 3, Heads: 4, KVHeads: 1, HeadDim: 32, Vocab: 2240},
		Vision: model.VisionConfig{ImageSize: 56, PatchSize: 14, Hidden: 48, MLP: 96, Layers: 3, Heads: 4, ImageTokens: 16},
	}
}

// files is an adapter in memory, to be changed and saved.
type files struct {
	t       testing.TB
	tensors []safetensors.Data
	config  map[string]any
}

// load reads an adapter of testdata.
func load(t testing.TB, name string) *files {
	t.Helper()
	dir := filepath.Join("..", "..", "testdata", "adapters", name)
	f, err := safetensors.Open(filepath.Join(dir, WeightsName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := &files{t: t}
	for _, tensor := range f.Tensors {
		b, err := f.ReadAll(tensor)
		if err != nil {
			t.Fatal(err)
		}
		out.tensors = append(out.tensors, safetensors.Data{Name: tensor.Name, DType: tensor.DType, Shape: tensor.Shape, Bytes: b})
	}
	b, err := os.ReadFile(filepath.Join(dir, ConfigName))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out.config); err != nil {
		t.Fatal(err)
	}
	return out
}

// clone returns a copy that can be changed.
func (f *files) clone() *files {
	out := &files{f.t, slices.Clone(f.tensors), maps.Clone(f.config)}
	for i := range out.tensors {
		out.tensors[i].Shape = slices.Clone(out.tensors[i].Shape)
		out.tensors[i].Bytes = slices.Clone(out.tensors[i].Bytes)
	}
	return out
}

// find returns the tensor whose name ends with suffix.
func (f *files) find(suffix string) *safetensors.Data {
	f.t.Helper()
	for i := range f.tensors {
		if strings.HasSuffix(f.tensors[i].Name, suffix) {
			return &f.tensors[i]
		}
	}
	f.t.Fatalf("no tensor %s", suffix)
	return nil
}

// add appends a tensor of F32.
func (f *files) add(name string, shape []int64, value float32) {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	f.tensors = append(f.tensors, safetensors.NewFloat32(name, shape, slices.Repeat([]float32{value}, int(n))))
}

// save writes the adapter to a new folder.
func (f *files) save() string {
	f.t.Helper()
	dir := f.t.TempDir()
	var b bytes.Buffer
	if err := safetensors.Write(&b, f.tensors, map[string]string{"format": "pt"}); err != nil {
		f.t.Fatal(err)
	}
	config, err := json.Marshal(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	for name, content := range map[string][]byte{WeightsName: b.Bytes(), ConfigName: config} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	return dir
}

// changes opens the adapter and works out what it makes of a model.
func (f *files) changes(c model.Config, scale float64) ([]model.Change, []string, error) {
	f.t.Helper()
	a, err := Open(f.save())
	if err != nil {
		return nil, nil, err
	}
	defer a.Close()
	return Changes(c, []Loaded{{a, scale}})
}

// extents works out what is known of that from the headers.
func (f *files) extents(c model.Config) ([]model.Extent, error) {
	f.t.Helper()
	a, err := Open(f.save())
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return Extents(c, []Loaded{{a, 1}})
}

// refused wants an error of one bounded line that has all the parts.
func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
		t.Errorf("error %q is not a line of at most 500 bytes", err)
	}
}
