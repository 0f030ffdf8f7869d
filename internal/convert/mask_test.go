package convert

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// writeCodec writes an archive like vae-oid.npz with the arrays given, by name.
func writeCodec(t *testing.T, arrays map[string][]int, value func(name string, i int) float32) string {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for name, shape := range arrays {
		w, err := z.Create(name + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		n, text := 1, ""
		for _, d := range shape {
			n *= d
			text += fmt.Sprintf("%d, ", d)
		}
		header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", text)
		header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
		data := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
		data = append(data, header...)
		for i := range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(value(name, i)))
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "codec.npz")
	if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// codecArrays are the decoder's arrays, and one of the encoder's.
func codecArrays() map[string][]int {
	arrays := map[string][]int{"encoder.0.bias": {7}}
	for _, m := range model.MaskTensors() {
		arrays[m.Source] = m.Shape
	}
	return arrays
}

func smallValue(name string, i int) float32 { return float32((len(name)*31+i)%97)/970 - 0.05 }

func TestMaskDecoderIsStored(t *testing.T) {
	path := writeCodec(t, codecArrays(), smallValue)
	out := filepath.Join(t.TempDir(), "m.gguf")
	report, err := Convert(context.Background(), "../../testdata/checkpoints/pg1-tiny", out, Options{Type: "q8_0", MaskDecoder: path})
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(out, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(report.Rows) != len(f.Tensors) {
		t.Errorf("%d rows in the report, %d tensors in the file", len(report.Rows), len(f.Tensors))
	}
	for _, m := range model.MaskTensors() {
		tensor, ok := f.Lookup(m.Name)
		if !ok {
			t.Fatalf("%s is missing", m.Name)
		}
		values := make([]float32, tensor.Elements())
		if err := ggml.Dequantize(tensor.Type, values, f.Data(tensor), int(tensor.Shape[0])); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			if v != smallValue(m.Source, i) {
				t.Fatalf("%s: value %d is %v", m.Name, i, v)
			}
		}
	}
	e, err := ggml.NewEngine(ggml.Options{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m, err := model.Load(f, e)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d, err := model.ReadMaskDecoder(f, e)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}

func TestMaskDecoderRefused(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(map[string][]int)
		value func(string, int) float32
		want  string
	}{
		"missing": {func(a map[string][]int) { delete(a, "decoder.4.weight") }, smallValue, "decoder.4.weight is missing"},
		"shape":   {func(a map[string][]int) { a["decoder.12.weight"] = []int{1, 8, 1, 1} }, smallValue, "decoder.12.weight has the shape"},
		"NaN": {func(map[string][]int) {}, func(name string, i int) float32 {
			if name == "decoder.0.bias" && i == 3 {
				return float32(math.NaN())
			}
			return 0
		}, "decoder.0.bias"},
	} {
		arrays := codecArrays()
		c.edit(arrays)
		out := filepath.Join(t.TempDir(), "m.gguf")
		_, err := Convert(context.Background(), "../../testdata/checkpoints/pg1-tiny", out, Options{MaskDecoder: writeCodec(t, arrays, c.value)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: there is an output", name)
		}
	}
}
