package convert

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// pythonWithGGUF is a Python that has the gguf package: PALIGEMMA_PYTHON, or
// python3. Without one the test is skipped.
func pythonWithGGUF(t *testing.T) string {
	t.Helper()
	python := os.Getenv("PALIGEMMA_PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import gguf").CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skipf("%s has no gguf package (%v, %s): pip install gguf", python, err, lines[len(lines)-1])
	}
	return python
}

// TestPythonGGUF reads files of every type with the gguf package of Python: it
// finds the same keys, names, types, shapes and values.
func TestPythonGGUF(t *testing.T) {
	python := pythonWithGGUF(t)
	dir := t.TempDir()
	args := []string{filepath.Join("testdata", "read_gguf.py")}
	add := func(name, checkpoint string, opts Options) {
		out := filepath.Join(dir, name+".gguf")
		if _, err := Convert(context.Background(), checkpoint, out, opts); err != nil {
			t.Fatal(err)
		}
		args = append(args, out)
	}
	for _, typ := range Types() {
		add("pg1-"+typ.Name, tinyDir("pg1-tiny"), Options{Type: typ.Name})
	}
	add("pg2", tinyDir("pg2-tiny"), Options{})
	add("odd", tinyDir("pg1-odd"), Options{Type: "q4_k_m"})
	add("sentencepiece", tinyDir("pg1-tiny"), Options{Tokenizer: filepath.Join("..", "..", "testdata", "tokenizers", "sentencepiece.model")})
	quantized := filepath.Join(dir, "quantized.gguf")
	wide, err := gguf.Open(args[1], gguf.Options{NoMmap: true})
	if err != nil {
		t.Fatal(err)
	}
	defer wide.Close()
	if _, err := Quantize(context.Background(), wide, quantized, QuantizeOptions{Type: "q4_0"}); err != nil {
		t.Fatal(err)
	}
	args = append(args, quantized)
	if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, path := range args[1:] {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".gguf"), func(t *testing.T) { comparePython(t, path) })
	}
}

// comparePython compares a file with what Python found in it.
func comparePython(t *testing.T, path string) {
	f, err := gguf.Open(path, gguf.Options{NoMmap: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var found struct {
		Keys    map[string]any
		Tensors []struct {
			Name, Type string
			Shape      []int64
		}
	}
	text, err := os.ReadFile(path + ".json")
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil {
		t.Fatal(err)
	}
	values, err := os.ReadFile(path + ".f32")
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Keys) != len(f.Keys()) || len(found.Tensors) != len(f.Tensors) {
		t.Fatalf("%d keys and %d tensors, want %d and %d", len(found.Keys), len(found.Tensors), len(f.Keys()), len(f.Tensors))
	}
	for _, key := range f.Keys() {
		if got, want := single(found.Keys[key]), single(f.Value(key)); got != want {
			t.Errorf("key %s is %.100s, want %.100s", key, got, want)
		}
	}
	for i, want := range f.Tensors {
		got := found.Tensors[i]
		if got.Name != want.Name || got.Type != strings.ToUpper(want.Type.String()) || !slices.Equal(got.Shape, want.Shape) {
			t.Errorf("tensor %d is %v, want %s %v %v", i, got, want.Name, want.Type, want.Shape)
		}
		all := make([]float32, want.Elements())
		if err := ggml.Dequantize(want.Type, all, f.Data(want), int(want.Shape[0])); err != nil {
			t.Fatal(err)
		}
		values = compareValues(t, want.Name, all, values)
	}
	if len(values) > 0 {
		t.Errorf("%d bytes of values are left", len(values))
	}
}

// compareValues compares the values of a tensor with the first of what Python
// wrote, to the rounding of one operation, and returns the others.
func compareValues(t *testing.T, name string, want []float32, values []byte) []byte {
	t.Helper()
	if len(values) < 4*len(want) {
		t.Fatalf("%s: %d bytes are left for %d values", name, len(values), len(want))
	}
	largest := float64(slices.Max(want) - min(0, slices.Min(want)))
	for i, w := range want {
		got := math.Float32frombits(binary.LittleEndian.Uint32(values[4*i:]))
		if !(math.Abs(float64(got-w)) <= 2e-7*largest) {
			t.Errorf("%s: value %d is %v, want %v", name, i, got, w)
			break
		}
	}
	return values[4*len(want):]
}

// single writes a key's value as text, numbers as float32: Python has no other
// way to say which float32 it means.
func single(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var plain any
	if err := json.Unmarshal(b, &plain); err != nil {
		return err.Error()
	}
	return fmt.Sprint(rounded(plain))
}

// rounded rounds the numbers in a JSON value to float32.
func rounded(v any) any {
	switch v := v.(type) {
	case float64:
		return float32(v)
	case []any:
		for i := range v {
			v[i] = rounded(v[i])
		}
	}
	return v
}
