package convert

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/layout"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// array is an array of a .npz to make.
type array struct {
	shape  []int
	values []float32
	dtype  string // "" is "<f4"
}

// arrays are those of a checkpoint of big_vision, by name.
type arrays map[string]*array

// toBigVision lays a tiny checkpoint out as big_vision does: the tables of the
// product, read the other way round, value by value.
func toBigVision(t testing.TB, name string, root string) arrays {
	t.Helper()
	c := load(t, name)
	_, report := run(t, tinyDir(name), Options{Type: "f32"})
	sizes := sizesOf(report.Config)
	named := map[string]safetensors.Data{}
	for _, d := range c.tensors {
		named[layout.Canonical(d.Name)] = d
	}
	norms := gemmaNorms
	if report.Config.Arch == model.ArchPaliGemma2 {
		norms = gemma2Norms
	}
	all := arrays{}
	for _, g := range []partGroup{
		{layout.TextPrefix, "llm/", slices.Concat(textParts, groupedParts, norms)},
		{layout.VisionPrefix, "img/", towerParts}, {layout.ProjectorPrefix, "img/", projectorParts},
	} {
		for _, p := range g.parts {
			all.fill(t, root+g.model, g.prefix, p, sizes[g.model], named)
		}
	}
	return all
}

// sizesOf returns the sizes of the axes, by their letters.
func sizesOf(c model.Config) map[string]map[rune]int {
	side := c.Vision.PatchSize
	return map[string]map[rune]int{
		"llm/": {'L': c.Text.Layers, 'V': c.Text.Vocab, 'D': c.Text.Hidden, 'N': c.Text.Heads, 'K': c.Text.KVHeads, 'H': c.Text.HeadDim, 'F': c.Text.MLP},
		"img/": {'L': c.Vision.Layers, 'D': c.Vision.Hidden, 'N': c.Vision.Heads, 'H': c.Vision.HeadDim(), 'F': c.Vision.MLP,
			'P': c.Vision.ImageTokens, 'O': c.Text.Hidden, 'C': 3, 'W': side},
	}
}

// fill copies a tensor, or that of each layer, into an array.
func (a arrays) fill(t testing.TB, root, prefix string, p arrayPart, sizes map[rune]int, named map[string]safetensors.Data) {
	t.Helper()
	x := a[root+p.array]
	shape, n := []int{}, 1
	for _, letter := range p.axes {
		d := sizes[letter]
		switch {
		case letter >= '0' && letter <= '2':
			d = p.picks()
		case letter == 'H' && p.array == "embedding/kernel":
			d = sizes['W']
		}
		shape, n = append(shape, d), n*d
	}
	if x == nil {
		x = &array{shape: shape, values: make([]float32, n)}
		a[root+p.array] = x
	}
	loaded := map[string][]float32{}
	index := make([]int, len(shape))
	for i := range n {
		for k, rest := len(index)-1, i; k >= 0; k-- {
			index[k], rest = rest%shape[k], rest/shape[k]
		}
		at := map[rune]int{}
		wanted := true
		for k, letter := range p.axes {
			if at[letter] = index[k]; letter >= '0' && letter <= '2' {
				wanted = wanted && index[k] == int(letter-'0')
			}
		}
		if !wanted {
			continue
		}
		tensor := prefix + p.tensor
		if strings.Contains(tensor, "%d") {
			tensor = fmt.Sprintf(tensor, at['L'])
		}
		values := loaded[tensor]
		if values == nil {
			d, ok := named[tensor]
			if !ok {
				t.Fatalf("no tensor %s", tensor)
			}
			values = floats(t, d)
			loaded[tensor] = values
		}
		offset := 0
		for _, letter := range strings.ReplaceAll(p.shape, ",", "") {
			offset = offset*shape[strings.IndexRune(p.axes, letter)] + at[letter]
		}
		x.values[i] = values[offset]
	}
}

// save writes the arrays as NumPy's savez does.
func (a arrays) save(t testing.TB, path string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		x := a[name]
		dtype := x.dtype
		if dtype == "" {
			dtype = "<f4"
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		dims := strings.ReplaceAll(strings.Trim(fmt.Sprint(x.shape), "[]"), " ", ", ") + ","
		dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }\n", dtype, dims)
		data := append([]byte("\x93NUMPY\x01\x00"), byte(len(dict)), byte(len(dict)>>8))
		if _, err := f.Write(append(append(data, dict...), x.encode(t, dtype)...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (x *array) encode(t testing.TB, dtype string) (b []byte) {
	if len(x.values) > 0 && (dtype == "|V2" || dtype == "<V2") {
		return quantize(t, gguf.TypeBF16, x.values, len(x.values))
	}
	for _, v := range x.values {
		if dtype == "<f8" {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(v)))
		} else {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b
}

// TestBigVision: an npz becomes the tensors of the same model's safetensors, however
// its values are cut into pieces.
func TestBigVision(t *testing.T) {
	for _, name := range tiny {
		want, base := run(t, tinyDir(name), Options{Type: "f32"})
		for _, test := range []struct {
			name, root, dtype string
			opts              Options
		}{
			{"f32", "params/", "<f4", Options{Type: "f32"}},
			{"without params", "", "<f4", Options{Type: "f32"}},
			{"f64 in small pieces", "params/", "<f8", Options{Type: "f32", chunk: 1000, Threads: 3}},
		} {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				a := toBigVision(t, name, test.root)
				for _, x := range a {
					x.dtype = test.dtype
				}
				test.opts.Tokenizer = tinyDir(name)
				got, report := run(t, a.save(t, filepath.Join(t.TempDir(), "pt.npz")), test.opts)
				sameTensors(t, want, got)
				config := report.Config
				config.Text.AttnScale, config.Text.SlidingWindow = base.Config.Text.AttnScale, base.Config.Text.SlidingWindow
				if fmt.Sprint(config) != fmt.Sprint(base.Config) {
					t.Errorf("%+v\nwant %+v", config, base.Config)
				}
				if len(report.Notes) > 0 {
					t.Errorf("notes %q", report.Notes)
				}
			})
		}
	}
}

// TestBigVisionRounded: bfloat16 as raw bytes is what a BF16 checkpoint gives.
func TestBigVisionRounded(t *testing.T) {
	c := load(t, "pg2-tiny")
	c.round(safetensors.BF16)
	want, _ := run(t, c.save(), Options{Type: "bf16"})
	for _, dtype := range []string{"|V2", "<V2"} {
		a := toBigVision(t, "pg2-tiny", "params/")
		for _, x := range a {
			x.dtype = dtype
		}
		got, _ := run(t, a.save(t, filepath.Join(t.TempDir(), "pt.npz")), Options{Type: "bf16", Tokenizer: tinyDir("pg2-tiny")})
		sameTensors(t, want, got)
	}
}

// TestBigVisionRows: the embedding ends before <image>, as the released ones do.
func TestBigVisionRows(t *testing.T) {
	a := toBigVision(t, "pg1-tiny", "params/")
	e := a["params/llm/embedder/input_embedding"]
	rows := 2176 // the id of <image>
	e.values = e.values[:rows*e.shape[1]]
	e.shape[0] = rows
	got, report := run(t, a.save(t, filepath.Join(t.TempDir(), "pt.npz")), Options{Type: "f32", Tokenizer: tinyDir("pg1-tiny")})
	if c := report.Config; c.Text.Vocab != rows || c.Tokens.Image != rows {
		t.Errorf("%d rows, <image> is %d", c.Text.Vocab, c.Tokens.Image)
	}
	if e, _ := got.Lookup(model.TensorEmbedding); e.Shape[1] != int64(rows) {
		t.Errorf("the embedding has the shape %v", e.Shape)
	}
}

// TestRefuseBigVision: what is not a whole checkpoint is refused by what it is.
func TestRefuseBigVision(t *testing.T) {
	const q, k = "params/llm/layers/attn/q_einsum/w", "params/img/embedding/kernel"
	for _, test := range []struct {
		name   string
		change func(a arrays)
		want   []string
	}{
		{"missing", func(a arrays) { delete(a, q) }, []string{q, "is missing", "incomplete"}},
		{"no tower", func(a arrays) {
			maps.DeleteFunc(a, func(n string, _ *array) bool { return strings.Contains(n, "img/") })
		}, []string{"params/img/embedding/kernel", "missing"}},
		{"unknown", func(a arrays) { a["params/llm/more"] = &array{[]int{1}, []float32{1}, ""} }, []string{"unknown", "params/llm/more"}},
		{"not stacked", func(a arrays) { a["params/img/Transformer/encoderblock_0/x"] = &array{[]int{1}, []float32{1}, ""} }, []string{"encoderblock_0", "stacked"}},
		{"four dimensions, not three", func(a arrays) { a[q].shape = []int{3, 4 * 64, 32} }, []string{q, "want 4 dimensions"}},
		{"transposed", func(a arrays) { s := a["params/img/head/kernel"].shape; s[0], s[1] = s[1], s[0] }, []string{"params/img/head/kernel", "wrong shape"}},
		{"three gates", func(a arrays) {
			g := a["params/llm/layers/mlp/gating_einsum"]
			g.shape[0], g.shape[1] = 2, 3
		}, []string{"gating_einsum", "want 2"}},
		{"integers", func(a arrays) { a[k].dtype = "<i4" }, []string{k, "<i4", "want float32"}},
		{"text", func(a arrays) { a[k].dtype = "<U1" }, []string{k, "<U1"}},
		{"NaN", func(a arrays) { a[q].values[7] = float32(math.NaN()) }, []string{q + "[0]", "NaN"}},
		{"positions that make no square", func(a arrays) { s := a["params/img/pos_embedding"]; s.shape[1], s.values = 15, s.values[:15*48] }, []string{"15 positions", "square"}},
		{"fewer layers of one kind", func(a arrays) {
			n := a["params/llm/layers/pre_ffw_norm/scale"]
			n.shape[0], n.values = 2, n.values[:2*64]
		}, []string{"missing", "post_attention_layernorm"}},
		{"the mask codec", func(a arrays) {
			clear(a)
			a[model.MaskTensors()[0].Source] = &array{[]int{1}, []float32{1}, ""}
		}, []string{"mask codec", "--mask-decoder"}},
		{"no arrays", func(a arrays) { clear(a) }, []string{"no arrays img/", "there are none"}},
		{"another model", func(a arrays) { clear(a); a["params/encoder/x"] = &array{[]int{1}, []float32{1}, ""} }, []string{"no arrays img/", "params/encoder/x"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := toBigVision(t, "pg1-tiny", "params/")
			test.change(a)
			path := a.save(t, filepath.Join(t.TempDir(), "pt.npz"))
			isSentence(t, fails(t, path, Options{Type: "f32", Tokenizer: tinyDir("pg1-tiny")}, test.want...))
		})
	}
}

// TestBigVisionFiles: faults of the file and of what is named with it.
func TestBigVisionFiles(t *testing.T) {
	a := toBigVision(t, "pg1-tiny", "params/")
	a["opt/0/count"] = &array{[]int{1}, []float32{1}, ""}
	path := a.save(t, filepath.Join(t.TempDir(), "pt.npz"))
	opts := Options{Type: "f32", Tokenizer: tinyDir("pg1-tiny")}
	_, report := run(t, path, opts)
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "opt/0/count") {
		t.Errorf("notes %q", report.Notes)
	}
	isSentence(t, fails(t, path, Options{Type: "f32"}, "tokenizer", "--tokenizer"))
	opts.Prefix = "params"
	isSentence(t, fails(t, path, opts, "--prefix is for safetensors"))
	opts.Prefix = ""
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(data)
	flipped[len(data)/2] ^= 1
	cut := filepath.Join(t.TempDir(), "cut.npz")
	for name, data := range map[string][]byte{"flipped": flipped, "cut": data[:len(data)/2], "empty": nil} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(cut, data, 0o644); err != nil {
				t.Fatal(err)
			}
			isSentence(t, fails(t, cut, opts, "invalid npz"))
		})
	}
	// What is missing is said before all values are read for their checksums.
	isSentence(t, fails(t, writeFile(t, filepath.Join(t.TempDir(), "flipped.npz"), flipped), Options{Type: "f32"}, "tokenizer", "--tokenizer"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Convert(ctx, path, filepath.Join(t.TempDir(), "o.gguf"), opts); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("canceled: %v", err)
	}
}

// TestReleasedImage: <image> is known where the embedding has as many rows as released
// ones, of transformers or of big_vision.
func TestReleasedImage(t *testing.T) {
	for rows, want := range map[int][]int{257151: nil, 257152: {257152}, 257153: {257152}, 257216: {257152}, 257217: nil, 2240: nil} {
		if got := releasedImage(rows); !slices.Equal(got, want) {
			t.Errorf("%d rows: %v, want %v", rows, got, want)
		}
	}
}
