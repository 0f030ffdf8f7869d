package model_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
	"testing"
	"time"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// FuzzLoad changes the configuration, the tensors' shapes and bytes of a small
// valid file in ways that keep it a sound GGUF, and runs what still loads: no
// file may make the graph panic, the C library abort, or memory explode.
func FuzzLoad(f *testing.F) {
	for _, seed := range [][]byte{
		{0, 5, 1, 0, 0, 0}, {0, 8, 0, 0, 0, 0}, {1, 3, 0, 1, 0, 0}, {2, 40, 7, 0xff, 0x7f, 0}, {0, 6, 2, 0, 0, 0, 0, 7, 64, 0, 0, 0},
		{3, 0, 0, 0, 0, 0}, {1, 20, 1, 0x80, 0, 0}, {2, 70, 0, 0xff, 0xff, 0xff},
	} {
		f.Add(seed, uint8(0))
		f.Add(seed, uint8(1))
	}
	var files [][]byte
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		data, err := os.ReadFile(convertTo(f, name, "q4_k_m"))
		if err != nil {
			f.Fatal(err)
		}
		files = append(files, data)
	}
	backend, err := ggml.NewBackend(testDevice(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(backend.Close)
	f.Fuzz(func(t *testing.T, edits []byte, which uint8) {
		data := mutate(t, files[int(which)%len(files)], edits)
		if data == nil {
			return
		}
		file, err := gguf.FromBytes("fuzz", data)
		if err != nil {
			t.Fatalf("the writer made a file that the reader refuses: %v", err)
		}
		defer file.Close()
		m, err := model.Load(file, backend)
		if err != nil {
			return
		}
		defer m.Close()
		c := m.Config()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		side := c.Vision.ImageSize
		if 3*side*side > 1<<20 {
			return // sound, but slow
		}
		image, err := m.Encode(ctx, make([]float32, 3*side*side))
		if err != nil {
			return
		}
		ids := make([]int, image.Tokens, image.Tokens+2)
		for i := range ids {
			ids[i] = c.Tokens.Image
		}
		ids = append(ids, c.Tokens.BOS, c.Tokens.EOS)
		_, _ = m.Generate(ctx, model.Prompt{IDs: ids, Images: []model.Features{image}}, model.GenerateOptions{MaxTokens: 2})
		_, _ = m.Trace(ctx, model.Prompt{IDs: []int{c.Tokens.BOS}}, []int{c.Tokens.EOS}, model.TraceOptions{HiddenStates: true, Attentions: true})
	})
}

// mutate applies edits of six bytes each: what, which, and a value.
func mutate(t *testing.T, data, edits []byte) []byte {
	f, err := gguf.FromBytes("seed", data)
	if err != nil {
		t.Fatal(err)
	}
	keys := f.Keys()
	values := map[string]uint32{}
	tensors := append([]gguf.Tensor(nil), f.Tensors...)
	spoiled := map[string]byte{}
	for ; len(edits) >= 6; edits = edits[6:] {
		v := binary.LittleEndian.Uint32(edits[2:])
		switch which := int(edits[1]); edits[0] % 4 {
		case 0: // a number in the configuration
			values[keys[which%len(keys)]] = v
		case 1: // a dimension; small, for the file must have the bytes
			tensor := &tensors[which%len(tensors)]
			tensor.Shape = append([]int64(nil), tensor.Shape...)
			tensor.Shape[int(edits[2])%len(tensor.Shape)] = int64(v>>8%512) + 1
		case 2: // the weights
			spoiled[tensors[which%len(tensors)].Name] = edits[2]
		case 3: // a tensor's type
			if typ := gguf.Type(edits[2] % 64); typ.Valid() {
				tensors[which%len(tensors)].Type = typ
			}
		}
	}
	var w gguf.Writer
	for _, key := range keys {
		v, edited := values[key]
		switch f.KeyType(key) {
		case "uint32":
			if edited {
				w.SetUint32(key, v)
				continue
			}
		case "float32":
			if edited {
				w.SetFloat32(key, math.Float32frombits(v))
				continue
			}
		}
		w.CopyKey(f.Header, key)
	}
	for _, tensor := range tensors {
		if w.AddTensor(tensor.Name, tensor.Type, tensor.Shape...) != nil {
			return nil
		}
	}
	var buf bytes.Buffer
	err = w.Encode(&buf, func(tensor gguf.Tensor, dst io.Writer) error {
		bytes := make([]byte, tensor.Size)
		old, _ := f.Lookup(tensor.Name)
		copy(bytes, f.Data(old))
		if b, ok := spoiled[tensor.Name]; ok {
			for i := range bytes {
				bytes[i] ^= b
			}
		}
		_, err := dst.Write(bytes)
		return err
	})
	if err != nil {
		return nil
	}
	return buf.Bytes()
}
