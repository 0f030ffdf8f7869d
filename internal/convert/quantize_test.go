package convert

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"paligemma/internal/atomicfile"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
	reader "paligemma/internal/tokenizer"
)

// again quantizes and opens the result.
func again(t testing.TB, src *gguf.File, opts QuantizeOptions) (*gguf.File, *Report) {
	t.Helper()
	before := bytes.Clone(src.Bytes())
	out := filepath.Join(t.TempDir(), "out.gguf")
	report, err := Quantize(context.Background(), src, out, opts)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, src.Bytes()) {
		t.Error("the source was written to")
	}
	f, err := gguf.Open(out, gguf.Options{NoMmap: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if report.Size != int64(len(f.Bytes())) || report.Path != out || len(report.Rows) != len(f.Tensors) {
		t.Errorf("report has %d bytes, %d rows, path %s", report.Size, len(report.Rows), report.Path)
	}
	return f, report
}

// refuses quantizes and wants an error that has all the parts, and no file left.
func refuses(t *testing.T, src *gguf.File, opts QuantizeOptions, parts ...string) error {
	t.Helper()
	folder := t.TempDir()
	_, err := Quantize(context.Background(), src, filepath.Join(folder, "out.gguf"), opts)
	return refused(t, folder, err, parts)
}

// TestQuantizeAsConvert compares with what is made of the checkpoint, byte for
// byte: in every type, with a mask decoder, and from a file in memory.
func TestQuantizeAsConvert(t *testing.T) {
	codec := writeCodec(t, codecArrays(), smallValue)
	for _, name := range tiny {
		t.Run(name, func(t *testing.T) {
			opts := Options{Type: "f32"}
			if name == "pg1-tiny" {
				opts.MaskDecoder = codec
			}
			src, _ := run(t, tinyDir(name), opts)
			if name == "pg2-tiny" {
				var err error
				if src, err = gguf.FromBytes("embedded", src.Bytes()); err != nil {
					t.Fatal(err)
				}
			}
			for i, typ := range Types() {
				if name != "pg1-odd" && !slices.Contains([]string{"f16", "q8_0", "q4_k_m", "q2_k"}, typ.Name) {
					continue
				}
				opts.Type = typ.Name
				want, converted := run(t, tinyDir(name), opts)
				got, report := again(t, src, QuantizeOptions{Type: strings.ToUpper(typ.Name), Threads: i % 4, chunk: 700 * (i % 3)})
				sameFile(t, want, got)
				if report.Type != typ.Name || !reflect.DeepEqual(report.Config, converted.Config) || len(report.Notes) > 0 {
					t.Errorf("%s %s: report of %s with notes %q", name, typ.Name, report.Type, report.Notes)
				}
				for j, row := range report.Rows {
					other := converted.Rows[j]
					if row.Source != row.Name || row.From != "f32" || row.Why != other.Why || row.Type != other.Type || row.Bytes != other.Bytes {
						t.Errorf("%s %s: row %+v, convert has %+v", name, typ.Name, row, other)
					}
				}
			}
		})
	}
}

// TestQuantizeRounded starts from 16 bits that lost nothing of the checkpoint.
func TestQuantizeRounded(t *testing.T) {
	for dtype, typ := range map[safetensors.DType]string{safetensors.BF16: "bf16", safetensors.F16: "f16"} {
		c := load(t, "pg1-odd")
		c.round(dtype)
		dir := c.save()
		src, _ := run(t, dir, Options{Type: typ})
		for _, to := range []string{"f32", "bf16", "f16", "q8_0", "q4_k_m"} {
			want, _ := run(t, dir, Options{Type: to})
			got, _ := again(t, src, QuantizeOptions{Type: to})
			sameFile(t, want, got)
		}
	}
}

// TestQuantizeMaskDecoder goes from F16 back to what a decoder is otherwise.
func TestQuantizeMaskDecoder(t *testing.T) {
	src, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f16", MaskDecoder: writeCodec(t, codecArrays(), smallValue)})
	got, _ := again(t, src, QuantizeOptions{Type: "q8_0"})
	want, err := model.ReadMaskTensors(src)
	if err != nil {
		t.Fatal(err)
	}
	have, err := model.ReadMaskTensors(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range model.MaskTensors() {
		if tensor, _ := got.Lookup(m.Name); tensor.Type != gguf.TypeF32 || !slices.Equal(want[m.Name], have[m.Name]) {
			t.Errorf("%s is %v or has other values", m.Name, tensor.Type)
		}
	}
}

// TestRequantize starts from quantized files.
func TestRequantize(t *testing.T) {
	for _, name := range []string{"pg1-odd", "pg2-tiny"} {
		t.Run(name, func(t *testing.T) {
			src, _ := run(t, tinyDir(name), Options{Type: "q5_0"})
			for _, to := range []string{"q4_0", "q8_0", "f32", "bf16"} {
				err := refuses(t, src, QuantizeOptions{Type: to}, "quantize ", "out.gguf: tensor ", " is q5_0: quantized already", "--allow-requantize")
				if !errors.Is(err, ErrQuantized) {
					t.Errorf("%v is not ErrQuantized", err)
				}
				// Each tensor is what the quantizer makes of the values there are.
				got, report := again(t, src, QuantizeOptions{Type: to, AllowRequantize: true, chunk: 900})
				config, err := model.ReadConfig(got.Header)
				if err != nil {
					t.Fatal(err)
				}
				lossy := 0
				for _, spec := range config.Tensors() {
					from, _ := src.Lookup(spec.Name)
					tensor, _ := got.Lookup(spec.Name)
					wide := make([]float32, from.Elements())
					if err := ggml.Dequantize(from.Type, wide, src.Data(from), int(from.Shape[0])); err != nil {
						t.Fatal(err)
					}
					var values []float32
					for i := 0; i < len(wide); i += int(from.Shape[0]) {
						values = append(values, wide[i:i+spec.Shape[0]]...)
						values = append(values, make([]float32, int(tensor.Shape[0])-spec.Shape[0])...)
					}
					want := src.Data(from)
					if from.Type != tensor.Type {
						want = quantize(t, tensor.Type, values, int(tensor.Shape[0]))
						if from.Type != gguf.TypeF32 {
							lossy++
						}
					}
					if !bytes.Equal(got.Data(tensor), want) {
						t.Errorf("%s to %s: tensor %s differs", name, to, spec.Name)
					}
				}
				if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "tensors were quantized before") || lossy == 0 {
					t.Errorf("notes %q, %d tensors", report.Notes, lossy)
				}
			}
			// Of the right type already: a copy.
			got, report := again(t, src, QuantizeOptions{Type: "q5_0", chunk: 900})
			sameFile(t, src, got)
			if len(report.Notes) > 0 {
				t.Errorf("notes %q of a copy", report.Notes)
			}
		})
	}
}

// rebuilt is a file with other keys or tensors, in memory. Data of tensors that
// are not in src is zero.
func rebuilt(t testing.TB, src *gguf.File, keys func(w *gguf.Writer), tensors []gguf.Tensor) *gguf.File {
	t.Helper()
	var w gguf.Writer
	keys(&w)
	for _, tensor := range tensors {
		if err := w.AddTensor(tensor.Name, tensor.Type, tensor.Shape...); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	err := w.Encode(&b, func(tensor gguf.Tensor, dst io.Writer) error {
		data := make([]byte, tensor.Size)
		if old, ok := src.Lookup(tensor.Name); ok {
			copy(data, src.Data(old))
		}
		_, err := dst.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.FromBytes("memory", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestQuantizeKeys keeps what a file says, wherever it says its type.
func TestQuantizeKeys(t *testing.T) {
	src, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	reversed := slices.Clone(src.Tensors)
	slices.Reverse(reversed)
	odd := rebuilt(t, src, func(w *gguf.Writer) {
		w.SetUint32("general.alignment", 128)
		w.SetUint32("general.quantization_version", 1)
		w.SetStrings("general.tags", []string{"a", ""})
		w.SetUint64("other.count", 1<<40)
		for _, k := range src.Keys() {
			if k != gguf.KeyFileType {
				w.CopyKey(src.Header, k)
			}
		}
	}, reversed)
	for to, want := range map[string]struct{ file, version any }{"q4_0": {uint32(2), uint32(2)}, "bf16": {uint32(32), nil}} {
		got, _ := again(t, odd, QuantizeOptions{Type: to})
		plain, _ := again(t, src, QuantizeOptions{Type: to})
		sameTensors(t, plain, got)
		if got.Alignment != 128 {
			t.Errorf("alignment %d", got.Alignment)
		}
		if f, v := got.Value(gguf.KeyFileType), got.Value("general.quantization_version"); f != want.file || v != want.version {
			t.Errorf("%s: file type %v and version %v", to, f, v)
		}
		for _, k := range odd.Keys() {
			if k != "general.quantization_version" && (odd.KeyType(k) != got.KeyType(k) || !bytes.Equal(encoded(t, odd, k), encoded(t, got, k))) {
				t.Errorf("key %s differs", k)
			}
		}
	}
}

// encoded is a key as a file has it.
func encoded(t *testing.T, f *gguf.File, key string) []byte {
	t.Helper()
	var w gguf.Writer
	w.CopyKey(f.Header, key)
	var b bytes.Buffer
	if err := w.Encode(&b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestQuantizeRefuses gives files that are not models.
func TestQuantizeRefuses(t *testing.T) {
	src, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	without := func(key string) func(w *gguf.Writer) {
		return func(w *gguf.Writer) {
			for _, k := range src.Keys() {
				if k != key {
					w.CopyKey(src.Header, k)
				}
			}
		}
	}
	edited := func(name string, edit func(*gguf.Tensor)) []gguf.Tensor {
		list := slices.Clone(src.Tensors)
		edit(&list[slices.IndexFunc(list, func(t gguf.Tensor) bool { return t.Name == name })])
		return list
	}
	for _, c := range []struct {
		keys    func(w *gguf.Writer)
		tensors []gguf.Tensor
		want    string
	}{
		{func(w *gguf.Writer) { w.SetString("general.architecture", "llama") }, nil, "not a PaliGemma model"},
		{without("paligemma.block_count"), src.Tensors, "paligemma.block_count"},
		{without(reader.KeyJSON), src.Tensors, reader.KeyJSON},
		{without(""), src.Tensors[1:], "tensor v.patch_embd.weight is missing"},
		{without(""), nil, "more such errors"},
		{without(""), append(slices.Clone(src.Tensors), gguf.Tensor{Name: "extra", Shape: []int64{1}}), "tensor extra is unknown"},
		{without(""), append(slices.Clone(src.Tensors), gguf.Tensor{Name: "mask.codebook", Shape: []int64{512, 128}}), "tensor mask.decoder.0.weight is missing"},
		{without(""), edited("mm.0.weight", func(t *gguf.Tensor) { t.Shape = []int64{64, 48} }), "tensor mm.0.weight has the shape"},
		{without(""), edited("blk.0.attn_q.weight", func(t *gguf.Tensor) { t.Type = gguf.TypeI32 }), "tensor blk.0.attn_q.weight is i32"},
		{without(""), edited("output_norm.weight", func(t *gguf.Tensor) { t.Type = gguf.TypeF16 }), "tensor output_norm.weight is f16, want f32"},
	} {
		err := refuses(t, rebuilt(t, src, c.keys, c.tensors), QuantizeOptions{Type: "q4_0", AllowRequantize: true}, "quantize memory: ", c.want)
		if strings.Contains(c.want, "PaliGemma") && !errors.Is(err, model.ErrNotPaliGemma) {
			t.Errorf("%v is not ErrNotPaliGemma", err)
		}
	}
	if err := refuses(t, src, QuantizeOptions{Type: "q9"}, "q9"); !errors.Is(err, ErrUnknownType) {
		t.Errorf("%v is not ErrUnknownType", err)
	}
	src.Close()
	refuses(t, src, QuantizeOptions{Type: "q4_0"}, "file already closed")
}

// TestQuantizeNumbers has weights that are none, or too large; also in blocks
// that are only copied.
func TestQuantizeNumbers(t *testing.T) {
	spoil := func(typ, name string, raw ...byte) *gguf.File {
		src, _ := run(t, tinyDir("pg1-odd"), Options{Type: typ})
		data := bytes.Clone(src.Bytes())
		f, err := gguf.FromBytes("memory", data)
		if err != nil {
			t.Fatal(err)
		}
		tensor, _ := f.Lookup(name)
		copy(f.Data(tensor)[tensor.Size/2:], raw)
		return f
	}
	nan := []byte{0, 0, 0xc0, 0x7f}
	refuses(t, spoil("f32", "output_norm.weight", nan...), QuantizeOptions{Type: "f32"}, "tensor output_norm.weight has NaN", "damaged")
	refuses(t, spoil("f32", "blk.1.ffn_up.weight", nan...), QuantizeOptions{Type: "q4_k_m"}, "tensor blk.1.ffn_up.weight has NaN at row")
	refuses(t, spoil("q8_0", "mm.0.weight", 0, 0x7c), QuantizeOptions{Type: "q8_0"}, "tensor mm.0.weight has")
	refuses(t, spoil("q8_0", "mm.0.weight", 0, 0x7c), QuantizeOptions{Type: "f32", AllowRequantize: true}, "tensor mm.0.weight has")
	large := spoil("f32", "blk.1.ffn_up.weight", 0, 0, 0xff, 0x7e)
	refuses(t, large, QuantizeOptions{Type: "f16"}, "tensor blk.1.ffn_up.weight has values up to 1.", "too large for f16: use --type bf16 or f32")
	again(t, large, QuantizeOptions{Type: "bf16"})
}

// TestQuantizeOutput never writes over what it reads, by whatever name.
func TestQuantizeOutput(t *testing.T) {
	made, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	dir := t.TempDir()
	in, link, hard, other := filepath.Join(dir, "in"), filepath.Join(dir, "link"), filepath.Join(dir, "hard"), filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(in, made.Bytes(), 0o644), os.Symlink("in", link), os.Link(in, hard), os.WriteFile(other, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, noMmap := range []bool{false, true} {
		src, err := gguf.Open(in, gguf.Options{NoMmap: noMmap})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		var output *OutputError
		for _, out := range []string{in, link, hard, filepath.Join(dir, ".", "in")} {
			_, err := Quantize(context.Background(), src, out, QuantizeOptions{Overwrite: true})
			if !errors.As(err, &output) || !strings.Contains(err.Error(), "is the model that is read") {
				t.Errorf("%s: %v", out, err)
			}
		}
		if _, err := Quantize(context.Background(), src, other, QuantizeOptions{}); !errors.Is(err, atomicfile.ErrExists) || !errors.As(err, &output) {
			t.Error(err)
		}
		if _, err := Quantize(context.Background(), src, filepath.Join(dir, "no", "file"), QuantizeOptions{}); !errors.As(err, &output) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		_, err = Quantize(ctx, src, filepath.Join(dir, "new"), QuantizeOptions{chunk: 64, Progress: func(_, _ int64) { cancel() }})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if b, _ := os.ReadFile(in); !bytes.Equal(b, made.Bytes()) {
		t.Error("the input was changed")
	}
	if left, _ := os.ReadDir(dir); len(left) != 4 {
		t.Errorf("left behind: %v", left)
	}
	// A file that changes under its mapping.
	src, err := gguf.Open(in, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := os.Chtimes(in, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	refuses(t, src, QuantizeOptions{}, "was changed or replaced while it was in use")
}

// FuzzQuantize changes single bytes of a file's header and weights: what comes
// of it is an error, or a model that loads.
func FuzzQuantize(f *testing.F) {
	var files []*gguf.File
	for _, typ := range []string{"f32", "q4_k_m"} {
		file, _ := run(f, tinyDir("pg1-odd"), Options{Type: typ})
		files = append(files, file)
	}
	f.Add([]byte{0, 0, 8, 1}, uint8(0), uint8(0))
	f.Add([]byte{0, 2, 0, 0xff, 0, 2, 1, 3}, uint8(1), uint8(7))
	f.Add([]byte{0xff, 0xff, 0, 0x7f}, uint8(1), uint8(9))
	f.Fuzz(func(t *testing.T, edits []byte, which, to uint8) {
		file := files[int(which)%len(files)]
		data := bytes.Clone(file.Bytes())
		for ; len(edits) >= 4; edits = edits[4:] {
			// Counted from where the tensors are described, back or on.
			at := int(file.DataOffset) - (int(int8(edits[0]))<<16 | int(edits[1])<<8 | int(edits[2]))
			if at >= 0 && at < len(data) {
				data[at] = edits[3]
			}
		}
		src, err := gguf.FromBytes("fuzz", data)
		if err != nil {
			return
		}
		m := mixes[int(to)%len(mixes)]
		var out bytes.Buffer
		if _, err := requantize(context.Background(), src, &out, m, QuantizeOptions{AllowRequantize: true, Threads: 1}); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has several lines", err)
			}
			return
		}
		made, err := gguf.FromBytes("made", out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		config, err := model.ReadConfig(made.Header)
		if err != nil {
			t.Fatal(err)
		}
		if err := config.CheckTensors(made.Header); err != nil {
			t.Fatal(err)
		}
		norm, _ := made.Lookup("output_norm.weight")
		for _, v := range floats(t, safetensors.Data{DType: safetensors.F32, Bytes: made.Data(norm)}) {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				t.Fatalf("a norm of %v", v)
			}
		}
	})
}
