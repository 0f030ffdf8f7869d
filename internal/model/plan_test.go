package model_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// released returns the configuration of a release, and its tensors with matrices of a type.
func released(t *testing.T, name string, typ gguf.Type) (model.Config, func(string) (gguf.Tensor, bool)) {
	t.Helper()
	c, ok := model.Release(name)
	if !ok {
		t.Fatalf("no release %s", name)
	}
	tensors := map[string]gguf.Tensor{}
	for _, spec := range c.Tensors() {
		stored := gguf.Tensor{Name: spec.Name, Type: gguf.TypeF32}
		if spec.Role == model.RoleMatrix {
			stored.Type = typ
		}
		row, err := stored.Type.RowBytes(model.PaddedRow(spec.Shape[0], stored.Type))
		if err != nil {
			t.Fatal(err)
		}
		stored.Size = row
		for _, d := range spec.Shape[1:] {
			stored.Size *= int64(d)
		}
		tensors[spec.Name] = stored
	}
	return c, func(name string) (gguf.Tensor, bool) { s, ok := tensors[name]; return s, ok }
}

// describe writes a plan in a line: "cuda0 0-20 tower, cuda1 21-41 head".
func describe(p model.Plan) string {
	var all []string
	for _, s := range p.Shares {
		text := s.Device
		if s.Layers > 0 {
			text += fmt.Sprintf(" %d-%d", s.First, s.First+s.Layers-1)
		}
		if s.Vision {
			text += " tower"
		}
		if s.Head {
			text += " head"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// TestPlan places models on devices of some sizes.
func TestPlan(t *testing.T) {
	const gb = 1e9
	gpu := func(n int, free float64) model.Place {
		return model.Place{Name: fmt.Sprint("cuda", n), Free: int64(free * gb)}
	}
	cpu := model.Place{Name: "cpu", Host: true, Free: 64 * gb}
	for _, c := range []struct {
		name, model string
		typ         gguf.Type
		places      []model.Place
		split       model.Split
		want, short string // the plan, and the device that has too little memory
	}{
		{"one device", "3b-224", gguf.TypeBF16, []model.Place{gpu(0, 80)}, model.Split{}, "cuda0 0-17 tower head", ""},
		{"one that is too small", "pg2-10b-448", gguf.TypeBF16, []model.Place{gpu(0, 16)}, model.Split{}, "cuda0 0-41 tower head", "cuda0"},
		{"two alike", "pg2-10b-448", gguf.TypeBF16, []model.Place{gpu(0, 12), gpu(1, 12)}, model.Split{}, "cuda0 0-21 tower, cuda1 22-41 head", ""},
		{"two of different sizes", "pg2-10b-448", gguf.TypeBF16, []model.Place{gpu(0, 8), gpu(1, 24)}, model.Split{}, "cuda0 0-7 tower, cuda1 8-41 head", ""},
		{"the CPU gets the rest", "pg2-10b-448", gguf.TypeBF16, []model.Place{gpu(0, 12), cpu}, model.Split{}, "cuda0 0-23 tower, cpu 24-41 head", ""},
		{"the CPU gets nothing", "pg2-10b-448", gguf.TypeBF16, []model.Place{gpu(0, 12), gpu(1, 12), cpu}, model.Split{}, "cuda0 0-21 tower, cuda1 22-41 head", ""},
		{"three", "pg2-28b-224", gguf.TypeBF16, []model.Place{gpu(0, 24), gpu(1, 24), gpu(2, 24)}, model.Split{}, "cuda0 0-15 tower, cuda1 16-31, cuda2 32-45 head", ""},
		{"too much for three", "pg2-28b-224", gguf.TypeF32, []model.Place{gpu(0, 24), gpu(1, 24), gpu(2, 24)}, model.Split{}, "", "cuda0"},
		{"sizes unknown", "3b-224", gguf.TypeBF16, []model.Place{gpu(0, 0), gpu(1, 0)}, model.Split{}, "cuda0 0-8 tower, cuda1 9-17 head", ""},
		{"layers", "3b-224", gguf.TypeBF16, []model.Place{gpu(0, 8), gpu(1, 8)}, model.Split{Shares: []float64{10, 8}}, "cuda0 0-9 tower, cuda1 10-17 head", ""},
		{"proportions", "3b-224", gguf.TypeBF16, []model.Place{gpu(0, 8), gpu(1, 8), cpu}, model.Split{Shares: []float64{1, 1, 2}}, "cuda0 0-4 tower, cuda1 5-8, cpu 9-17 head", ""},
		{"none on the second", "3b-224", gguf.TypeBF16, []model.Place{gpu(0, 8), gpu(1, 8)}, model.Split{Shares: []float64{1, 0}}, "cuda0 0-17 tower head", ""},
		{"the tower alone", "3b-224", gguf.TypeBF16, []model.Place{gpu(0, 8), cpu}, model.Split{Shares: []float64{0, 1}}, "cuda0 tower, cpu 0-17 head", ""},
		{"the last ones", "3b-224", gguf.TypeBF16, []model.Place{cpu, gpu(0, 8)}, model.Split{Last: 4}, "cpu 0-13, cuda0 14-17 tower head", ""},
		{"the last ones of one", "3b-224", gguf.TypeBF16, []model.Place{gpu(0, 8)}, model.Split{Last: 4}, "cuda0 0-17 tower head", ""},
		{"a CPU with little memory", "3b-224", gguf.TypeBF16, []model.Place{gpu(0, 8), {Name: "cpu", Host: true, Free: gb}}, model.Split{Shares: []float64{1, 1}}, "cuda0 0-8 tower, cpu 9-17 head", ""},
		{"more than there are", "3b-224", gguf.TypeBF16, []model.Place{cpu, gpu(0, 8)}, model.Split{Last: 40}, "cuda0 0-17 tower head", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, lookup := released(t, c.model, c.typ)
			p, err := config.Plan(lookup, c.places, c.split, model.Room{Prompt: config.Vision.ImageTokens, Cells: 1024})
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(p); c.want != "" && got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if short, ok := p.Short(); short.Device != c.short || ok != (c.short != "") {
				t.Errorf("%q has too little memory, want %q", short.Device, c.short)
			}
			checkSum(t, config, lookup, p)
		})
	}
}

// checkSum makes sure that every byte lies somewhere.
func checkSum(t *testing.T, c model.Config, lookup func(string) (gguf.Tensor, bool), p model.Plan) {
	t.Helper()
	var weights, placed, cache int64
	for _, spec := range c.Tensors() {
		stored, _ := lookup(spec.Name)
		weights += stored.Size
	}
	layers := 0
	for _, s := range p.Shares {
		placed, cache, layers = placed+s.Weights, cache+s.Cache, layers+s.Layers
	}
	if placed != weights || layers != c.Text.Layers {
		t.Errorf("%d bytes and %d layers are placed, want %d and %d", placed, layers, weights, c.Text.Layers)
	}
	cell := 2
	if stored, _ := lookup(model.TensorEmbedding); stored.Type == gguf.TypeF32 {
		cell = 4
	}
	if want := int64(1024 * 2 * cell * c.Text.Layers * c.Text.KVHeads * c.Text.HeadDim); cache != want {
		t.Errorf("a cache of %d bytes, want %d", cache, want)
	}
}

// TestPlanRefuses gives splits that name no plan.
func TestPlanRefuses(t *testing.T) {
	config, lookup := released(t, "3b-224", gguf.TypeBF16)
	two := []model.Place{{Name: "cuda0"}, {Name: "cuda1"}}
	for name, c := range map[string]struct {
		places []model.Place
		split  model.Split
		want   string
	}{
		"too few shares":    {two, model.Split{Shares: []float64{1}}, "1 shares for 2 devices"},
		"negative":          {two, model.Split{Shares: []float64{2, -1}}, "a share of -1"},
		"infinite":          {two, model.Split{Shares: []float64{math.Inf(1), 1}}, "a share of +Inf"},
		"nothing":           {two, model.Split{Shares: []float64{0, 0}}, "every share of the split is 0"},
		"the last of three": {append(two, model.Place{Name: "cpu", Host: true}), model.Split{Last: 3}, "3 layers on the last of 3 devices"},
		"fewer than none":   {two, model.Split{Last: -1}, "-1 layers"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := config.Plan(lookup, c.places, c.split, model.Room{Prompt: 256, Cells: 1024}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
