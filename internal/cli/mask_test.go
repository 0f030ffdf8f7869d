package cli

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// writeCodec writes a mask codec of random weights, as vae-oid.npz has them.
func writeCodec(path string) error {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, t := range model.MaskTensors() {
		w, err := z.Create(t.Source + ".npy")
		if err != nil {
			return err
		}
		n, shape := 1, ""
		for _, d := range t.Shape {
			n *= d
			shape += fmt.Sprintf("%d, ", d)
		}
		header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", shape)
		header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
		data := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
		data = append(data, header...)
		hash := fnv.New64a()
		hash.Write([]byte(t.Source))
		random := rand.New(rand.NewPCG(hash.Sum64(), 6))
		// Weights that neither fade out nor blow up on their way, and a seed with
		// which masks have an inside and an outside.
		scale := math.Sqrt(2 * float64(t.Shape[0]) / float64(n))
		for range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(random.NormFloat64()*scale)))
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o600)
}

// A decoder in a GGUF file must be there as a whole, in F32 (weights in F16, too)
// and in its shapes, whatever else the file is.
func TestGGUFDecoderRefused(t *testing.T) {
	write := func(edit func(i int, name string, shape []int64) (string, gguf.Type, []int64)) string {
		var w gguf.Writer
		w.SetString("general.architecture", "other")
		for i, m := range model.MaskTensors() {
			var shape []int64
			for _, n := range slices.Backward(m.Shape) {
				shape = append(shape, int64(n))
			}
			name, typ, shape := edit(i, m.Name, shape)
			if err := w.AddTensor(name, typ, shape...); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(t.TempDir(), "d.gguf")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		err = w.Encode(f, func(t gguf.Tensor, dst io.Writer) error {
			_, err := dst.Write(make([]byte, t.Size))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	type edit func(i int, name string, shape []int64) (string, gguf.Type, []int64)
	for _, good := range []edit{
		func(_ int, name string, shape []int64) (string, gguf.Type, []int64) {
			return name, gguf.TypeF32, shape
		},
		func(_ int, name string, shape []int64) (string, gguf.Type, []int64) {
			if strings.HasSuffix(name, ".bias") {
				return name, gguf.TypeF32, shape
			}
			return name, gguf.TypeF16, shape
		},
	} {
		if tensors, err := readMaskDecoder(write(good)); err != nil || len(tensors) != len(model.MaskTensors()) {
			t.Errorf("a whole decoder: %d tensors, %v", len(tensors), err)
		}
	}
	for want, edit := range map[string]edit{
		"tensor mask.decoder.0.bias is missing": func(i int, name string, shape []int64) (string, gguf.Type, []int64) {
			if i == 2 {
				name = "x"
			}
			return name, gguf.TypeF32, shape
		},
		"tensor mask.codebook has the shape [128 512], want [512 128]": func(i int, name string, shape []int64) (string, gguf.Type, []int64) {
			if i == 0 {
				slices.Reverse(shape)
			}
			return name, gguf.TypeF32, shape
		},
		"tensor mask.codebook is q8_0, want f32 or f16": func(i int, name string, shape []int64) (string, gguf.Type, []int64) {
			if i == 0 {
				return name, gguf.TypeQ8_0, shape
			}
			return name, gguf.TypeF16, shape
		},
		"tensor mask.decoder.0.bias is f16, want f32": func(_ int, name string, shape []int64) (string, gguf.Type, []int64) {
			return name, gguf.TypeF16, shape
		},
		"the model has no mask decoder": func(i int, name string, shape []int64) (string, gguf.Type, []int64) {
			return fmt.Sprint("x", i), gguf.TypeF32, shape
		},
	} {
		t.Run(want, func(t *testing.T) {
			_, err := readMaskDecoder(write(edit))
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}
