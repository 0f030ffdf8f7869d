package model_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// rewrite copies a GGUF file, with some keys replaced (a nil value drops the
// key) or, of []int32, added, and its tensors changed.
func rewrite(t *testing.T, path string, keys map[string]any, tensors func([]gguf.Tensor) []gguf.Tensor) string {
	t.Helper()
	f, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w gguf.Writer
	for _, key := range f.Keys() {
		value, replaced := keys[key]
		switch v := value.(type) {
		case nil:
			if !replaced {
				w.CopyKey(f.Header, key)
			}
		case int:
			w.SetUint32(key, uint32(v))
		case float64:
			w.SetFloat32(key, float32(v))
		case string:
			w.SetString(key, v)
		case []float32:
			w.SetFloat32s(key, v)
		}
	}
	for key, value := range keys {
		if v, ok := value.([]int32); ok {
			w.SetInt32s(key, v)
		}
	}
	list := f.Tensors
	if tensors != nil {
		list = tensors(append([]gguf.Tensor(nil), list...))
	}
	for _, tensor := range list {
		if err := w.AddTensor(tensor.Name, tensor.Type, tensor.Shape...); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "x.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	err = w.Encode(out, func(tensor gguf.Tensor, dst io.Writer) error {
		data := make([]byte, tensor.Size)
		if old, ok := f.Lookup(tensor.Name); ok {
			copy(data, f.Data(old))
		}
		_, err := dst.Write(data)
		return err
	})
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

// tryLoad loads a file that may be bad.
func tryLoad(t *testing.T, path string, use func(*model.Model) error) error {
	t.Helper()
	f, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	e, err := ggml.NewBackend(testDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m, err := model.Load(f, e)
	if err != nil {
		return err
	}
	defer m.Close()
	if use != nil {
		return use(m)
	}
	return nil
}

// change edits the tensor of a name.
func change(name string, edit func(*gguf.Tensor)) func([]gguf.Tensor) []gguf.Tensor {
	return func(list []gguf.Tensor) []gguf.Tensor {
		for i := range list {
			if list[i].Name == name {
				edit(&list[i])
			}
		}
		return list
	}
}

// withMask adds a mask decoder, biases in F32 and the rest in F16, and edits the list.
func withMask(edit func([]gguf.Tensor) []gguf.Tensor) func([]gguf.Tensor) []gguf.Tensor {
	return func(list []gguf.Tensor) []gguf.Tensor {
		for _, m := range model.MaskTensors() {
			t := gguf.Tensor{Name: m.Name, Type: gguf.TypeF16}
			if len(m.Shape) == 1 {
				t.Type = gguf.TypeF32
			}
			for _, d := range slices.Backward(m.Shape) {
				t.Shape = append(t.Shape, int64(d))
			}
			list = append(list, t)
		}
		return edit(list)
	}
}

// TestMaskDecoderInF16 loads a file with such a decoder.
func TestMaskDecoderInF16(t *testing.T) {
	all := func(l []gguf.Tensor) []gguf.Tensor { return l }
	if err := tryLoad(t, rewrite(t, convertTo(t, "pg1-tiny", "f32"), nil, withMask(all)), nil); err != nil {
		t.Error(err)
	}
}

func TestLoadRefuses(t *testing.T) {
	type keys = map[string]any
	for name, c := range map[string]struct {
		from    string
		keys    keys
		tensors func([]gguf.Tensor) []gguf.Tensor
		want    string // in the error
	}{
		"another architecture":   {keys: keys{"general.architecture": "gemma3"}, want: "not a PaliGemma"},
		"no architecture":        {keys: keys{"general.architecture": nil}, want: "general.architecture"},
		"key missing":            {keys: keys{"paligemma.embedding_length": nil}, want: "paligemma.embedding_length"},
		"key of another type":    {keys: keys{"paligemma.embedding_length": "64"}, want: "paligemma.embedding_length"},
		"no heads":               {keys: keys{"paligemma.attention.head_count": 0}, want: "heads"},
		"no kv heads":            {keys: keys{"paligemma.attention.head_count_kv": 0}, want: "key-value heads"},
		"heads do not divide":    {keys: keys{"paligemma.attention.head_count_kv": 3}, want: "cannot share"},
		"odd head":               {keys: keys{"paligemma.attention.key_length": 31, "paligemma.attention.value_length": 31, "paligemma.rope.dimension_count": 31}, want: "odd"},
		"no vision heads":        {keys: keys{"paligemma.vision.attention.head_count": 0}, want: "vision tower's number of heads"},
		"another value width":    {keys: keys{"paligemma.attention.value_length": 16}, want: "value_length"},
		"another rope width":     {keys: keys{"paligemma.rope.dimension_count": 16}, want: "rope.dimension_count"},
		"another projection":     {keys: keys{"paligemma.vision.projection_dim": 32}, want: "projection_dim"},
		"no patch":               {keys: keys{"paligemma.vision.patch_size": 0}, want: "patch size"},
		"patch does not divide":  {keys: keys{"paligemma.vision.patch_size": 15}, want: "patches of 15"},
		"image tokens":           {keys: keys{"paligemma.vision.image_seq_length": 17}, want: "17 image tokens"},
		"absurd layers":          {keys: keys{"paligemma.block_count": 1 << 30}, want: "layers"},
		"absurd width":           {keys: keys{"paligemma.embedding_length": 1 << 31, "paligemma.vision.projection_dim": 1 << 31}, want: "hidden size"},
		"epsilon":                {keys: keys{"paligemma.attention.layer_norm_rms_epsilon": 0.0}, want: "epsilon"},
		"one mean":               {keys: keys{"paligemma.vision.image_mean": []float32{0.5}}, want: "image_mean"},
		"zero deviation":         {keys: keys{"paligemma.vision.image_std": []float32{0.5, 0, 0.5}}, want: "deviation"},
		"image token outside":    {keys: keys{"tokenizer.ggml.image_token_id": 2241}, want: "image token"},
		"stop token outside":     {keys: keys{"tokenizer.ggml.eos_token_ids": []int32{1, 2240}}, want: "stop token's id is 2240"},
		"negative stop token":    {keys: keys{"tokenizer.ggml.eos_token_ids": []int32{-1}}, want: "stop token's id is -1"},
		"no stop tokens":         {keys: keys{"tokenizer.ggml.eos_token_ids": []int32{}}, want: "has 0 ids, want 1 to 64"},
		"too many stop tokens":   {keys: keys{"tokenizer.ggml.eos_token_ids": make([]int32, 65)}, want: "has 65 ids, want 1 to 64"},
		"eos outside":            {keys: keys{"tokenizer.ggml.eos_token_id": 1 << 31}, want: "eos token"},
		"image is bos":           {keys: keys{"tokenizer.ggml.image_token_id": 2}, want: "the image token and the bos token both have the id 2"},
		"image is eos":           {keys: keys{"tokenizer.ggml.eos_token_id": 2176}, want: "the image token and the eos token both have the id 2176"},
		"image is unknown":       {keys: keys{"tokenizer.ggml.image_token_id": 3}, want: "the image token and the unknown token both have the id 3"},
		"bos is eos":             {keys: keys{"tokenizer.ggml.eos_token_id": 2}, want: "the bos token and the eos token both have the id 2"},
		"short context":          {keys: keys{"paligemma.context_length": 18}, want: "a context of 18 tokens has no room for an image of 16"},
		"context of one":         {keys: keys{"paligemma.context_length": 1}, want: "want 19 or more"},
		"fewer layers than told": {keys: keys{"paligemma.block_count": 2}, want: "blk.2."},
		"more layers than there": {keys: keys{"paligemma.block_count": 4}, want: "blk.3.attn_norm.weight is missing"},
		"another width":          {keys: keys{"paligemma.embedding_length": 96, "paligemma.vision.projection_dim": 96}, want: "shape"},
		"no soft-cap":            {from: "pg2-tiny", keys: keys{"paligemma2.final_logit_softcapping": 0.0}, want: "soft-cap"},
		"no window":              {from: "pg2-tiny", keys: keys{"paligemma2.attention.sliding_window": 0}, want: "window"},
		"vocabulary": {tensors: change("token_embd.weight", func(t *gguf.Tensor) { t.Shape = []int64{64, 2239}; t.Size -= 256 }),
			want: "token_embd.weight has the shape"},
		"missing": {tensors: func(l []gguf.Tensor) []gguf.Tensor { return l[1:] }, want: "is missing"},
		"unknown": {tensors: func(l []gguf.Tensor) []gguf.Tensor {
			return append(l, gguf.Tensor{Name: "blk.0.extra.weight", Type: gguf.TypeF32, Shape: []int64{4}, Size: 16})
		}, want: "blk.0.extra.weight is unknown"},
		"norm in f16":            {tensors: change("output_norm.weight", func(t *gguf.Tensor) { t.Type = gguf.TypeF16 }), want: "output_norm.weight is f16"},
		"matrix of i32":          {tensors: change("blk.1.attn_q.weight", func(t *gguf.Tensor) { t.Type = gguf.TypeI32 }), want: "blk.1.attn_q.weight is i32"},
		"transposed":             {tensors: change("blk.0.ffn_down.weight", func(t *gguf.Tensor) { t.Shape = []int64{64, 128} }), want: "blk.0.ffn_down.weight has the shape"},
		"padded in f32":          {tensors: change("mm.0.weight", func(t *gguf.Tensor) { t.Shape = []int64{64, 64} }), want: "mm.0.weight has the shape"},
		"part of a mask decoder": {tensors: withMask(func(l []gguf.Tensor) []gguf.Tensor { return l[:len(l)-1] }), want: "mask.decoder.12.bias is missing"},
		"mask bias in f16":       {tensors: withMask(change("mask.decoder.4.bias", func(t *gguf.Tensor) { t.Type = gguf.TypeF16 })), want: "mask.decoder.4.bias is f16, want f32"},
		"mask kernel in bf16":    {tensors: withMask(change("mask.decoder.4.weight", func(t *gguf.Tensor) { t.Type = gguf.TypeBF16 })), want: "mask.decoder.4.weight is bf16, want f32 or f16"},
		"quantized codebook":     {tensors: withMask(change("mask.codebook", func(t *gguf.Tensor) { t.Type = gguf.TypeQ8_0 })), want: "mask.codebook is q8_0, want f32 or f16"},
		"transposed mask kernel": {tensors: withMask(change("mask.decoder.4.weight", func(t *gguf.Tensor) { t.Shape = []int64{4, 4, 64, 128} })), want: "mask.decoder.4.weight has the shape"},
		"one more dimension": {tensors: change("mm.0.weight", func(t *gguf.Tensor) { t.Shape = []int64{48, 64, 1} }),
			want: "mm.0.weight has the shape"},
	} {
		t.Run(name, func(t *testing.T) {
			from := c.from
			if from == "" {
				from = "pg1-tiny"
			}
			err := tryLoad(t, rewrite(t, convertTo(t, from, "f32"), c.keys, c.tensors), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, c.want)
			}
		})
	}
}

// TestLoadAccepts loads what looks odd and works.
func TestLoadAccepts(t *testing.T) {
	for name, keys := range map[string]map[string]any{
		"padding is eos":    {"tokenizer.ggml.padding_token_id": 1},
		"padding is image":  {"tokenizer.ggml.padding_token_id": 2176},
		"the least context": {"paligemma.context_length": 19},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tryLoad(t, rewrite(t, convertTo(t, "pg1-tiny", "f32"), keys, nil), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSelfTest runs sound models, and ones with a tensor of numbers that are
// finite and too large.
func TestSelfTest(t *testing.T) {
	for _, name := range []string{"pg1-tiny", "pg2-tiny", "pg1-odd"} {
		if err := load(t, name, "q8_0").SelfTest(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	good, err := os.ReadFile(convertTo(t, "pg1-tiny", "f32"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"v.patch_embd.weight", "v.position_embd.weight", "v.blk.1.ffn_up.weight", "v.blk.2.attn_q.weight", "v.post_ln.bias", "mm.0.weight",
		"token_embd.weight", "blk.0.attn_norm.weight", "blk.1.attn_v.weight", "blk.2.ffn_down.weight", "output_norm.weight",
	} {
		t.Run(name, func(t *testing.T) {
			data := bytes.Clone(good)
			f, err := gguf.FromBytes("x", data)
			if err != nil {
				t.Fatal(err)
			}
			tensor, ok := f.Lookup(name)
			if !ok {
				t.Fatal("there is no such tensor")
			}
			for values := f.Data(tensor); len(values) > 0; values = values[8:] {
				binary.LittleEndian.PutUint32(values, math.Float32bits(3e38))
				binary.LittleEndian.PutUint32(values[4:], math.Float32bits(-2e38))
			}
			path := filepath.Join(t.TempDir(), "huge.gguf")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			err = tryLoad(t, path, func(m *model.Model) error { return m.SelfTest(t.Context()) })
			tower := strings.HasPrefix(name, "v.") || strings.HasPrefix(name, "mm.")
			if !errors.Is(err, model.ErrNaN) || strings.HasPrefix(err.Error(), "vision tower: ") != tower {
				t.Errorf("got %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := load(t, "pg1-tiny", "q8_0").SelfTest(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestNotAPaliGemma(t *testing.T) {
	path := rewrite(t, convertTo(t, "pg1-tiny", "f32"), map[string]any{"general.architecture": "llama"}, nil)
	if err := tryLoad(t, path, nil); !errors.Is(err, model.ErrNotPaliGemma) {
		t.Errorf("got %v", err)
	}
}

// TestNaN runs models whose final norm is not a number, without and with a soft-cap
// after it.
func TestNaN(t *testing.T) {
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		t.Run(name, func(t *testing.T) { testNaN(t, convertTo(t, name, "f32")) })
	}
}

func testNaN(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.FromBytes("x", data)
	if err != nil {
		t.Fatal(err)
	}
	norm, _ := f.Lookup("output_norm.weight")
	for i := range f.Data(norm) {
		f.Data(norm)[i] = 0xff
	}
	bad := filepath.Join(t.TempDir(), "nan.gguf")
	if err := os.WriteFile(bad, data, 0o644); err != nil {
		t.Fatal(err)
	}
	p := model.Prompt{IDs: []int{2, 14}}
	err = tryLoad(t, bad, func(m *model.Model) error {
		_, err := m.Generate(context.Background(), p, model.GenerateOptions{MaxTokens: 1})
		return err
	})
	if !errors.Is(err, model.ErrNaN) {
		t.Errorf("generate: %v", err)
	}
	err = tryLoad(t, bad, func(m *model.Model) error {
		_, err := m.BeamSearch(context.Background(), p, 2, 1)
		return err
	})
	if !errors.Is(err, model.ErrNaN) {
		t.Errorf("beams: %v", err)
	}
}

func TestBadPrompts(t *testing.T) {
	m := load(t, "pg1-tiny", "f32")
	size := 3 * 56 * 56
	image, err := m.Encode(context.Background(), make([]float32, size))
	if err != nil {
		t.Fatal(err)
	}
	placeholder := m.Config().Tokens.Image
	many := make([]int, image.Tokens+1)
	for i := range many {
		many[i] = placeholder
	}
	for name, p := range map[string]model.Prompt{
		"empty":                  {},
		"id outside":             {IDs: []int{2240}},
		"negative id":            {IDs: []int{-1}},
		"no image":               {IDs: []int{placeholder}},
		"too many image tokens":  {IDs: many, Images: []model.Features{image}},
		"too few image tokens":   {IDs: many[:image.Tokens-1], Images: []model.Features{image}},
		"an image but no tokens": {IDs: []int{2, 14}, Images: []model.Features{image}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := m.Generate(context.Background(), p, model.GenerateOptions{MaxTokens: 1}); err == nil {
				t.Error("no error")
			}
		})
	}
	for _, n := range []int{0, size - 1, size + 1} {
		if _, err := m.Encode(context.Background(), make([]float32, n)); err == nil {
			t.Errorf("an image of %d values: no error", n)
		}
	}
}

func TestCancel(t *testing.T) {
	m := load(t, "pg1-tiny", "f32")
	ctx, cancel := context.WithCancel(context.Background())
	_, err := m.Generate(ctx, model.Prompt{IDs: []int{2, 14}}, model.GenerateOptions{
		MaxTokens: 50, OnToken: func(int) error { cancel(); return nil },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	stop := errors.New("enough")
	out, err := m.Generate(context.Background(), model.Prompt{IDs: []int{2, 14}}, model.GenerateOptions{
		MaxTokens: 50, OnToken: func(int) error { return stop },
	})
	if err != stop || len(out.Tokens) != 1 {
		t.Errorf("got %v and %v", out.Tokens, err)
	}
}
