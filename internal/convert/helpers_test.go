package convert

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/safetensors"
)

var tiny = []string{"pg1-tiny", "pg1-odd", "pg2-tiny"}

func tinyDir(name string) string {
	return filepath.Join("..", "..", "testdata", "checkpoints", name)
}

// checkpoint is a checkpoint in memory, to be changed and saved.
type checkpoint struct {
	t       testing.TB
	tensors []safetensors.Data
	json    map[string]map[string]any // by file name
	files   map[string]string         // others, written after all else
	meta    map[string]string         // of the file of weights, if there is one
	index   map[string]any            // entries of the index that differ from what was written
	shards  int
}

func load(t testing.TB, name string) *checkpoint {
	t.Helper()
	c := &checkpoint{t: t, json: map[string]map[string]any{}, files: map[string]string{}, index: map[string]any{}}
	ckpt, err := safetensors.OpenCheckpoint(tinyDir(name))
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	for _, e := range ckpt.Tensors() {
		b, err := ckpt.ReadAll(e)
		if err != nil {
			t.Fatal(err)
		}
		c.tensors = append(c.tensors, safetensors.Data{Name: e.Name, DType: e.DType, Shape: e.Shape, Bytes: b})
	}
	files, err := filepath.Glob(filepath.Join(tinyDir(name), "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		c.json[filepath.Base(f)] = m
	}
	return c
}

// save writes the checkpoint to a new folder.
func (c *checkpoint) save() string {
	c.t.Helper()
	return c.saveIn(c.t.TempDir())
}

// saveIn writes the checkpoint to a folder.
func (c *checkpoint) saveIn(dir string) string {
	c.t.Helper()
	for name, m := range c.json {
		c.write(filepath.Join(dir, name), m)
	}
	if c.shards == 0 {
		c.writeTensors(filepath.Join(dir, "model.safetensors"), c.tensors, c.meta)
	} else {
		c.saveShards(dir)
	}
	for name, text := range c.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	return dir
}

func (c *checkpoint) saveShards(dir string) {
	c.t.Helper()
	index := map[string]any{}
	for i := range c.shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, c.shards)
		part := c.tensors[i*len(c.tensors)/c.shards : (i+1)*len(c.tensors)/c.shards]
		for _, t := range part {
			index[t.Name] = name
		}
		c.writeTensors(filepath.Join(dir, name), part, nil)
	}
	for name, shard := range c.index {
		if index[name] = shard; shard == nil {
			delete(index, name)
		}
	}
	c.write(filepath.Join(dir, "model.safetensors.index.json"), map[string]any{"weight_map": index})
}

func (c *checkpoint) write(path string, m map[string]any) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// at is a nested object of a JSON file.
func (c *checkpoint) at(file string, keys ...string) map[string]any {
	m := c.json[file]
	for _, k := range keys {
		m = m[k].(map[string]any)
	}
	return m
}

func (c *checkpoint) config() map[string]any { return c.json["config.json"] }
func (c *checkpoint) text() map[string]any   { return c.at("config.json", "text_config") }
func (c *checkpoint) vision() map[string]any { return c.at("config.json", "vision_config") }

// find gives the one tensor whose name ends so.
func (c *checkpoint) find(suffix string) *safetensors.Data {
	c.t.Helper()
	for i := range c.tensors {
		if strings.HasSuffix(c.tensors[i].Name, suffix) {
			return &c.tensors[i]
		}
	}
	c.t.Fatalf("no tensor %s", suffix)
	return nil
}

func (c *checkpoint) remove(suffix string) {
	name := c.find(suffix).Name
	c.tensors = slices.DeleteFunc(c.tensors, func(d safetensors.Data) bool { return d.Name == name })
}

func (c *checkpoint) add(name string, shape []int64, values []float32) {
	c.tensors = append(c.tensors, safetensors.NewFloat32(name, shape, values))
}

// renameAll gives every tensor another name.
func (c *checkpoint) renameAll(rename func(string) string) {
	for i := range c.tensors {
		c.tensors[i].Name = rename(c.tensors[i].Name)
	}
}

// copyAs adds a copy of a tensor under another name.
func (c *checkpoint) copyAs(suffix, name string) {
	d := *c.find(suffix)
	d.Name = name
	c.tensors = append(c.tensors, d)
}

// widen stores a tensor as F64.
func (c *checkpoint) widen(d *safetensors.Data) {
	var b []byte
	for _, v := range floats(c.t, *d) {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(v)))
	}
	d.DType, d.Bytes = safetensors.F64, b
}

// set changes values of a tensor from index i.
func (c *checkpoint) set(suffix string, i int, values ...float32) {
	d := c.find(suffix)
	all := floats(c.t, *d)
	copy(all[i:], values)
	*d = safetensors.NewFloat32(d.Name, d.Shape, all)
}

// round stores all tensors in 16 bits.
func (c *checkpoint) round(dtype safetensors.DType) {
	typ := map[safetensors.DType]gguf.Type{safetensors.F16: gguf.TypeF16, safetensors.BF16: gguf.TypeBF16}[dtype]
	for i, d := range c.tensors {
		values := floats(c.t, d)
		c.tensors[i].Bytes, c.tensors[i].DType = quantize(c.t, typ, values, len(values)), dtype
	}
}

// prefixes are those that one kind of writer puts before the names.
type prefixes struct{ text, vision, projector string }

var layouts = []prefixes{
	{"language_model.model.", "vision_tower.vision_model.", "multi_modal_projector."},             // the releases of 2024
	{"model.language_model.", "model.vision_tower.vision_model.", "model.multi_modal_projector."}, // transformers 4.52 to 4.57
	{"model.language_model.", "model.vision_tower.", "model.multi_modal_projector."},              // the module tree of version 5
	{"language_model.model.", "vision_tower.", "multi_modal_projector."},                          // save_pretrained of version 5
}

// rename gives the tensors, which have the names that save_pretrained of
// version 5 writes, those of another layout.
func (c *checkpoint) rename(to prefixes) {
	from := layouts[3]
	for i := range c.tensors {
		name := &c.tensors[i].Name
		for _, p := range [][2]string{{from.text, to.text}, {from.vision, to.vision}, {from.projector, to.projector}} {
			if rest, ok := strings.CutPrefix(*name, p[0]); ok {
				*name = p[1] + rest
				break
			}
		}
	}
}

// released rewrites the JSON the way the files of 2024 are: little in
// config.json, the image processor in a file of its own, merges as "a b".
func (c *checkpoint) released() {
	keep := func(m map[string]any, keys ...string) {
		maps.DeleteFunc(m, func(k string, _ any) bool { return !slices.Contains(keys, k) })
	}
	keep(c.config(), "bos_token_id", "eos_token_id", "pad_token_id", "image_token_index", "model_type", "text_config", "vision_config", "vocab_size", "hidden_size", "projection_dim")
	keep(c.text(), "hidden_size", "intermediate_size", "model_type", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "vocab_size", "head_dim", "query_pre_attn_scalar", "sliding_window")
	keep(c.vision(), "hidden_size", "intermediate_size", "model_type", "num_attention_heads", "num_hidden_layers", "patch_size", "projection_dim", "vision_use_head")
	c.vision()["projector_hidden_act"] = "gelu_fast"
	p := c.at("processor_config.json", "image_processor")
	p["do_convert_rgb"] = nil
	c.json["preprocessor_config.json"] = p
	delete(c.json, "processor_config.json")
	bpe := c.at("tokenizer.json", "model")
	for i, m := range bpe["merges"].([]any) {
		pair := m.([]any)
		bpe["merges"].([]any)[i] = pair[0].(string) + " " + pair[1].(string)
	}
}

func floats(t testing.TB, d safetensors.Data) []float32 {
	t.Helper()
	v, err := safetensors.Float32s(d.DType, d.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func quantize(t testing.TB, typ gguf.Type, values []float32, rowLen int) []byte {
	t.Helper()
	rowBytes, err := typ.RowBytes(int64(rowLen))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, int(rowBytes)*(len(values)/rowLen))
	if err := ggml.Quantize(typ, out, values, rowLen); err != nil {
		t.Fatal(err)
	}
	return out
}

// run converts and opens the result.
func run(t testing.TB, dir string, opts Options) (*gguf.File, *Report) {
	t.Helper()
	if opts.Name == "" {
		opts.Name = "test"
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	report, err := Convert(context.Background(), dir, out, opts)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(out, gguf.Options{NoMmap: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, report
}

// fails converts and wants an error that has all the parts, and no file left.
func fails(t *testing.T, dir string, opts Options, parts ...string) error {
	t.Helper()
	folder := t.TempDir()
	_, err := Convert(context.Background(), dir, filepath.Join(folder, "out.gguf"), opts)
	return refused(t, folder, err, parts)
}

// refused wants an error of one line that has all the parts, and an empty folder.
func refused(t *testing.T, folder string, err error, parts []string) error {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has several lines", err)
	}
	if left, _ := os.ReadDir(folder); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return err
}

// sameFile wants two results to be equal to the last byte.
func sameFile(t *testing.T, a, b *gguf.File) {
	t.Helper()
	if bytes.Equal(a.Bytes(), b.Bytes()) {
		return
	}
	sameTensors(t, a, b)
	for _, k := range a.Keys() {
		if !b.Has(k) || fmt.Sprint(a.Value(k)) != fmt.Sprint(b.Value(k)) {
			t.Errorf("key %s differs", k)
		}
	}
	t.Error("the files differ")
}

// sameTensors wants two results to have the same tensors, bit for bit.
func sameTensors(t *testing.T, a, b *gguf.File) {
	t.Helper()
	if len(a.Tensors) != len(b.Tensors) {
		t.Errorf("%d and %d tensors", len(a.Tensors), len(b.Tensors))
	}
	for _, x := range a.Tensors {
		y, ok := b.Lookup(x.Name)
		if !ok || x.Type != y.Type || !slices.Equal(x.Shape, y.Shape) || !bytes.Equal(a.Data(x), b.Data(y)) {
			t.Errorf("tensor %s differs", x.Name)
		}
	}
}

// writeTensors writes a safetensors file.
func (c *checkpoint) writeTensors(path string, tensors []safetensors.Data, meta map[string]string) {
	c.t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, tensors, meta); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		c.t.Fatal(err)
	}
}
