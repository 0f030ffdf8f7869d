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

// TestMaskDecoderIsStored looks at the types, the values and what the report
// says of them, and decodes with what was stored.
func TestMaskDecoderIsStored(t *testing.T) {
	path := writeCodec(t, codecArrays(), smallValue)
	e, err := ggml.NewBackend(ggml.Options{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	logits := map[string][]float32{}
	for typ, want := range map[string]struct {
		weights            gguf.Type
		whyWeight, whyBias string
	}{
		"f32":    {gguf.TypeF32, "", ""},
		"f16":    {gguf.TypeF16, "", "always f32"},
		"bf16":   {gguf.TypeF32, "mask decoder: f32 but for type f16", "always f32"},
		"q8_0":   {gguf.TypeF32, "mask decoder: f32 but for type f16", "always f32"},
		"q4_k_m": {gguf.TypeF32, "mask decoder: f32 but for type f16", "always f32"},
	} {
		f, report := run(t, tinyDir("pg1-tiny"), Options{Type: typ, MaskDecoder: path, chunk: 70000})
		if len(report.Rows) != len(f.Tensors) {
			t.Errorf("%s: %d rows in the report, %d tensors in the file", typ, len(report.Rows), len(f.Tensors))
		}
		rows := map[string]Row{}
		for _, row := range report.Rows {
			rows[row.Name] = row
		}
		for _, m := range model.MaskTensors() {
			wantType, wantWhy := want.weights, want.whyWeight
			if strings.HasSuffix(m.Name, ".bias") {
				wantType, wantWhy = gguf.TypeF32, want.whyBias
			}
			tensor, _ := f.Lookup(m.Name)
			row := rows[m.Name]
			if tensor.Type != wantType || row.Type != wantType || row.Why != wantWhy || row.From != "f32" || row.Source != m.Source || row.Bytes != tensor.Size {
				t.Errorf("%s: %s is %v, report says %+v, want %v and %q", typ, m.Name, tensor.Type, row, wantType, wantWhy)
			}
			values := make([]float32, tensor.Elements())
			for i := range values {
				values[i] = smallValue(m.Source, i)
			}
			if !bytes.Equal(f.Data(tensor), quantize(t, wantType, values, len(values))) {
				t.Errorf("%s: %s has other values", typ, m.Name)
			}
		}
		m, err := model.Load(f, e)
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		d, err := model.ReadMaskDecoder(f, e)
		if err != nil {
			t.Fatal(err)
		}
		out, err := d.Decode(context.Background(), [][]int{{0, 9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99, 108, 117, 126, 127}})
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		logits[typ] = out[0]
	}
	largest, worst := 0.0, 0.0
	for i, v := range logits["f32"] {
		if v != logits["q4_k_m"][i] {
			t.Fatalf("logit %d is %v in q4_k_m, want %v", i, logits["q4_k_m"][i], v)
		}
		largest = max(largest, math.Abs(float64(v)))
		worst = max(worst, math.Abs(float64(v-logits["f16"][i])))
	}
	if worst == 0 || worst > 1e-3*largest {
		t.Errorf("f16 is off by %.2g of %.2g", worst, largest)
	}
}

// TestMaskDecoderOverflow has a weight and a bias that 16 bits do not hold.
func TestMaskDecoderOverflow(t *testing.T) {
	with := func(array string, v float32) string {
		return writeCodec(t, codecArrays(), func(name string, i int) float32 {
			if name == array && i == 5 {
				return v
			}
			return 0
		})
	}
	weight, bias := with("decoder.2.net.2.weight", -70000), with("decoder.2.net.2.bias", -70000)
	fails(t, tinyDir("pg1-tiny"), Options{Type: "f16", MaskDecoder: weight}, "decoder.2.net.2.weight has values up to 70000, too large for f16: use --type bf16 or f32")
	fails(t, tinyDir("pg1-tiny"), Options{Type: "f16", MaskDecoder: with("_vq_vae._embedding", 1e9)}, "_vq_vae._embedding has values up to 1e+09")
	run(t, tinyDir("pg1-tiny"), Options{Type: "bf16", MaskDecoder: weight})
	run(t, tinyDir("pg1-tiny"), Options{Type: "f16", MaskDecoder: bias})
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
		t.Run(name, func(t *testing.T) {
			arrays := codecArrays()
			c.edit(arrays)
			out := filepath.Join(t.TempDir(), "m.gguf")
			_, err := Convert(context.Background(), "../../testdata/checkpoints/pg1-tiny", out, Options{MaskDecoder: writeCodec(t, arrays, c.value)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("there is an output")
			}
		})
	}
}
