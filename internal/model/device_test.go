package model_test

import (
	"fmt"
	"math"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// outputTypes are all types that a file can be converted to, but f32.
var outputTypes = []string{"f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_0", "q5_1", "q4_k_m", "q4_k_s", "q4_0", "q4_1", "q3_k_m", "q2_k", "iq4_nl", "iq4_xs"}

// longText is how many tokens are compared with those of the CPU.
const longText = 200

// otherDevice is testDevice, or the CPU with the graphs of other devices where that is
// the CPU with its kernels, which others are compared with.
func otherDevice(t *testing.T) ggml.Options {
	t.Helper()
	o := testDevice(t)
	o.Plain = o.Device == "cpu"
	return o
}

// decoder feeds a model tokens, one a step.
type decoder struct {
	m      *model.Model
	prompt model.Prompt
	seq    *model.Sequence
	logits []float32 // after the last token
}

// newDecoder starts a text.
func newDecoder(t *testing.T, m *model.Model, p model.Prompt) *decoder {
	t.Helper()
	room := len(p.IDs) + longText
	cache, err := m.NewCache(room)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	d := &decoder{m: m, prompt: p, seq: cache.NewSequence(room)}
	if d.logits, err = m.Prefill(t.Context(), d.seq, p); err != nil {
		t.Fatal(err)
	}
	return d
}

// next appends a token.
func (d *decoder) next(t *testing.T, id int) {
	t.Helper()
	logits, err := d.m.Step(t.Context(), []model.Token{{Sequence: d.seq, ID: id}})
	if err != nil {
		t.Fatal(err)
	}
	d.logits = logits[0]
}

// best is the likeliest token, and how far its logit is above the second.
func (d *decoder) best() (id int, gap float32) {
	first, second := float32(math.Inf(-1)), float32(math.Inf(-1))
	for i, v := range d.logits {
		if v > first {
			id, first, second = i, v, first
		} else {
			second = max(second, v)
		}
	}
	return id, first - second
}

// sameText gives the CPU's likeliest tokens to both, and compares each choice where the
// two best logits of the CPU are further apart than gap, or what a GPU is allowed.
func sameText(t *testing.T, device, cpu *decoder, gap float32) {
	t.Helper()
	gap = max(gap, float32(testdevice.Chosen(t).Gap()))
	for i := range longText {
		want, apart := cpu.best()
		if got, _ := device.best(); got != want && apart > gap {
			t.Fatalf("token %d is %d, on the CPU %d, by %.2g", i, got, want, apart)
		}
		device.next(t, want)
		cpu.next(t, want)
	}
}

// TestTextsOfTheCPU compares long texts with those of the CPU's kernels, on every f32
// golden that is continued.
func TestTextsOfTheCPU(t *testing.T) { textsOfTheCPU(t, otherDevice(t)) }

func textsOfTheCPU(t *testing.T, o ggml.Options) {
	for _, name := range checkpoints {
		path := convertTo(t, name, "f32")
		device, cpu := openOn(t, path, o), openOn(t, path, ggml.Options{Device: "cpu", Threads: 1})
		for _, g := range goldens(t, name) {
			if g.Suffix != nil {
				continue
			}
			t.Run(name+"/"+g.Case, func(t *testing.T) {
				sameText(t, newDecoder(t, device, g.prompt(t, device)), newDecoder(t, cpu, g.prompt(t, cpu)), 0)
			})
		}
	}
}

// TestBuiltInTextOfTheCPU does so with the built-in model, whose type is f16, where the
// choice is clear.
func TestBuiltInTextOfTheCPU(t *testing.T) { builtInTextOfTheCPU(t, otherDevice(t)) }

func builtInTextOfTheCPU(t *testing.T, o ggml.Options) {
	device, cpu := openBuiltIn(t, o), openBuiltIn(t, ggml.Options{Device: "cpu", Threads: 1})
	sameText(t, startPicture(t, device), startPicture(t, cpu), 1e-2)
}

// TestOneSplit makes sure that no operation of any type falls back on the CPU: every
// graph is computed as a whole by one device, or in one piece by each of several.
func TestOneSplit(t *testing.T) {
	for _, name := range checkpoints {
		for _, typ := range append([]string{"f32"}, outputTypes...) {
			t.Run(name+"/"+typ, func(t *testing.T) { oneSplit(t, name, typ, otherDevice(t)) })
		}
	}
}

func oneSplit(t *testing.T, checkpoint, typ string, o ggml.Options) {
	f, err := gguf.Open(convertTo(t, checkpoint, typ), gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, backend := loadOn(t, f, o)
	g := goldens(t, checkpoint)[0]
	check := func(what string, graphs, built, splits int) {
		t.Helper()
		want := ggml.Counts{Computed: graphs, Built: built, Splits: splits}
		if got := backend.TakeCounts(); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	p := g.prompt(t, m)
	built := len(p.Images)
	if m.OnDevice() {
		built = min(built, 1) // the graph of the tower is kept
	}
	check("encode", len(p.Images), built, 1)
	d := newDecoder(t, m, p)
	check("prefill", 1, 1, len(backend.Devices()))
	for i := range 3 {
		id, _ := d.best()
		d.next(t, id)
		check(fmt.Sprint("step ", i), 1, max(0, 1-i), len(backend.Devices())) // the first one's graph is kept
	}
}

// TestTypesNearCPU bounds how far logits are from those of the CPU's kernels
// (docs/devices.md), on models whose widths are below the block size of the K types: the
// worst case.
func TestTypesNearCPU(t *testing.T) {
	for typ, limit := range map[string]float64{"f32": 1e-5, "f16": 0.005, "bf16": 0.03, "q8_0": 0.1, "q4_k_m": 0.1} {
		for _, name := range checkpoints {
			path := convertTo(t, name, typ)
			device, cpu := openOn(t, path, otherDevice(t)), openOn(t, path, ggml.Options{Device: "cpu", Threads: 1})
			worst := 0.0
			for _, g := range goldens(t, name) {
				logits := func(m *model.Model) []float32 {
					got, err := m.Trace(t.Context(), g.prompt(t, m), g.suffix(), model.TraceOptions{})
					if err != nil {
						t.Fatal(err)
					}
					return got.Logits
				}
				worst = max(worst, relativeL2(logits(device), logits(cpu)))
			}
			t.Logf("%s %s: %.2g relative L2", name, typ, worst)
			if limit := testdevice.Chosen(t).TypeTolerance(typ, limit); !(worst <= limit) {
				t.Errorf("%s %s: %.2g relative L2, want %.2g", name, typ, worst, limit)
			}
		}
	}
}
