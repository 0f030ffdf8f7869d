package model_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"paligemma/internal/convert"
	"paligemma/internal/demo"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
	"paligemma/internal/testdevice"
)

const testdata = "../../testdata"

// golden is one run of transformers (float32, eager attention).
type golden struct {
	Case          string
	Prompt        string
	Suffix        *string
	IDs           []int   `json:"input_ids"`
	Types         []int   `json:"token_type_ids"`
	Generated     []int   `json:"generated_ids"`
	StoppedByEOS  bool    `json:"stopped_by_eos"`
	Labels        []int64 `json:"labels"`
	Loss          float64 `json:"loss_manual_f64"`
	MinTop2Gap    float64 `json:"min_top2_gap"`
	prefix        int     // tokens of type 0
	tensors       *safetensors.File
	pixelsOfImage [][]float32
}

// goldens loads the cases of a checkpoint.
func goldens(t *testing.T, name string) []golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, "goldens", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []golden }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	tensors, err := safetensors.Open(filepath.Join(testdata, "goldens", name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tensors.Close() })
	for i := range file.Cases {
		g := &file.Cases[i]
		g.tensors = tensors
		for _, typ := range g.Types {
			if typ == 0 {
				g.prefix++
			}
		}
		g.readPixels(t)
	}
	return file.Cases
}

// readPixels turns the stored uint8 values back into the floats they were.
func (g *golden) readPixels(t *testing.T) {
	t.Helper()
	entry, ok := g.tensors.Lookup(g.Case + ".pixels")
	if !ok {
		t.Fatalf("%s has no pixels", g.Case)
	}
	data, err := g.tensors.ReadAll(entry)
	if err != nil {
		t.Fatal(err)
	}
	side := entry.Shape[len(entry.Shape)-1]
	for size := int(3 * side * side); len(data) > 0; data = data[size:] {
		image := make([]float32, size)
		for i, v := range data[:size] {
			image[i] = float32(v)/127.5 - 1
		}
		g.pixelsOfImage = append(g.pixelsOfImage, image)
	}
}

// get reads a tensor; nil if the golden does not have it.
func (g *golden) get(t *testing.T, name string) []float32 {
	t.Helper()
	entry, ok := g.tensors.Lookup(g.Case + "." + name)
	if !ok {
		return nil
	}
	data, err := g.tensors.ReadAll(entry)
	if err != nil {
		t.Fatal(err)
	}
	values, err := safetensors.Float32s(entry.DType, data)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// prompt encodes the images and joins them with the prefix.
func (g *golden) prompt(t *testing.T, m *model.Model) model.Prompt {
	t.Helper()
	p := model.Prompt{IDs: g.IDs[:g.prefix]}
	for _, pixels := range g.pixelsOfImage {
		features, err := m.Encode(context.Background(), pixels)
		if err != nil {
			t.Fatal(err)
		}
		p.Images = append(p.Images, features)
	}
	return p
}

// values are those of features, wherever they are.
func values(t *testing.T, f model.Features) []float32 {
	t.Helper()
	all, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// suffix is the part after the prompt, EOS included.
func (g *golden) suffix() []int {
	if g.prefix == len(g.IDs) {
		return nil
	}
	return g.IDs[g.prefix:]
}

var converted struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "paligemma-model-")
	if err != nil {
		panic(err)
	}
	converted.dir, converted.paths = dir, map[string]string{}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// convertTo converts a test checkpoint, once for each type.
func convertTo(t testing.TB, checkpoint, typ string) string {
	t.Helper()
	converted.Lock()
	defer converted.Unlock()
	key := checkpoint + "-" + typ
	if converted.paths[key] == "" {
		path := filepath.Join(converted.dir, key+".gguf")
		from := filepath.Join(testdata, "checkpoints", checkpoint)
		if _, err := convert.Convert(context.Background(), from, path, convert.Options{Type: typ}); err != nil {
			t.Fatal(err)
		}
		converted.paths[key] = path
	}
	return converted.paths[key]
}

// load opens a converted checkpoint.
func load(t *testing.T, checkpoint, typ string) *model.Model {
	t.Helper()
	return open(t, convertTo(t, checkpoint, typ))
}

// testDevice is what the tests compute on (package testdevice).
func testDevice(tb testing.TB) ggml.Options {
	tb.Helper()
	d := testdevice.Chosen(tb)
	return ggml.Options{Device: d.Name, Plain: d.Plain, Threads: 1}
}

// onCPU is the CPU with the graphs of testDevice: for what only the CPU can do, which is
// to stop within a graph.
func onCPU(tb testing.TB) ggml.Options {
	tb.Helper()
	d := testdevice.Chosen(tb)
	return ggml.Options{Device: "cpu", Plain: !d.Kernels(), Threads: 1}
}

// open opens a GGUF file.
func open(t *testing.T, path string) *model.Model {
	t.Helper()
	return openOn(t, path, testDevice(t))
}

// openBuiltIn opens the built-in model, whose type is f16, on a device.
func openBuiltIn(t *testing.T, o ggml.Options) *model.Model {
	t.Helper()
	f, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	m, _ := loadOn(t, f, o)
	return m
}

// picture makes up the pixels of an image, others for each n from 1 to 250.
func picture(m *model.Model, n int) []float32 {
	size := m.Config().Vision.ImageSize
	pixels := make([]float32, 3*size*size)
	for i := range pixels {
		pixels[i] = float32(i*n%251)/125 - 1
	}
	return pixels
}

// openOn opens a GGUF file on a device.
func openOn(t *testing.T, path string, o ggml.Options, changes ...model.Change) *model.Model {
	t.Helper()
	file, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := loadOn(t, file, o, changes...)
	return m
}

// loadOn loads an open file, which is closed after the test.
func loadOn(t *testing.T, file *gguf.File, o ggml.Options, changes ...model.Change) (*model.Model, *ggml.Backend) {
	t.Helper()
	backend, err := ggml.NewBackend(o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.LoadPlan(file, backend, evenly(t, file, backend), changes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		backend.Close()
		file.Close()
	})
	return m, backend
}

// evenly deals the layers of a model out to the devices of a backend.
func evenly(t *testing.T, f *gguf.File, b *ggml.Backend) model.Plan {
	t.Helper()
	devices := b.Devices()
	if len(devices) == 1 {
		return model.Plan{}
	}
	c, err := model.ReadConfig(f.Header)
	if err != nil {
		t.Fatal(err)
	}
	var places []model.Place
	var split model.Split
	for _, d := range devices {
		places = append(places, model.Place{Name: d.Name, Host: d.Kind == ggml.KindCPU})
		split.Shares = append(split.Shares, 1)
	}
	plan, err := c.Plan(f.Lookup, places, split, model.Room{Prompt: 100, Cells: 100})
	if err != nil {
		t.Fatal(err)
	}
	if plan.Devices() != ggml.Names(devices) {
		t.Fatalf("%s are used of %s", plan.Devices(), ggml.Names(devices))
	}
	return plan
}

// compare fails unless got is within tolerance of want, in parts of want's
// largest magnitude, as results of f32 files are. Some GPUs are allowed more.
func compare(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	tolerance = testdevice.Chosen(t).TypeTolerance("f32", tolerance)
	if want == nil {
		return
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	largest, worst := 0.0, 0.0
	for i := range want {
		largest = max(largest, math.Abs(float64(want[i])))
		worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
		if got[i] != got[i] {
			worst = math.Inf(1)
		}
	}
	if !(worst <= tolerance*largest) {
		t.Errorf("%s: off by %.2g of the largest magnitude, want %.2g", what, worst/largest, tolerance)
	}
}

// alike fails unless rows of one step that were computed of the same are the same: to the
// bit, or on a GPU within what files of the type are allowed.
func alike(t *testing.T, what, typ string, got, want []float32) {
	t.Helper()
	if d := testdevice.Chosen(t); !d.SameRows() {
		compare(t, what, got, want, d.TypeTolerance(typ, 0))
	} else if !slices.Equal(got, want) {
		t.Errorf("%s differs", what)
	}
}

// relativeL2 is ‖got − want‖ / ‖want‖.
func relativeL2(got, want []float32) float64 {
	diff, norm := 0.0, 0.0
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		norm += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(diff / norm)
}

func sameInts(a, b []int) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
