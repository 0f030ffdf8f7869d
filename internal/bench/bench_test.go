package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/preprocess"
)

func TestMeasure(t *testing.T) {
	for _, name := range []string{"tiny", "pg2-tiny"} {
		s := synthetic(t, name, "q4_k_m")
		opened, progress := 0, []int{}
		r, err := Measure(t.Context(), Options{
			Open: func() (*engine.Engine, error) {
				opened++
				return s.Open(engine.Options{Device: "cpu", Threads: 1})
			},
			Synthetic:    true,
			Repetitions:  3,
			PromptTokens: 5,
			DecodeTokens: 7,
			Progress:     func(done, total int) { progress = append(progress, done, total) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if opened != 4 || len(progress) != 8 || progress[0] != 1 || progress[6] != 4 || progress[7] != 4 {
			t.Errorf("%s: opened %d times, progress %v", name, opened, progress)
		}
		if len(r.Runs) != 3 || r.Model != name || !r.Synthetic || r.Type != "q4_k_m" || r.Device != "cpu" || r.Threads != 1 || r.CPU == "" {
			t.Errorf("%s: %+v", name, r)
		}
		if r.PrefillTokens != 16+5 || r.DecodeTokens != 7 || r.Repetitions != 3 || r.Bytes != int64(len(s.file.Bytes())) {
			t.Errorf("%s: %+v", name, r)
		}
		one, seven := ggml.Counts{Computed: 1, Built: 1, Splits: 1}, ggml.Counts{Computed: 7, Built: 7, Splits: 1}
		if want := (Graphs{Encode: one, Prefill: one, Decode: seven}); r.Graphs != want {
			t.Errorf("%s: graphs %+v, want %+v", name, r.Graphs, want)
		}
		if r.Tokenizer <= 0 || r.Probe != nil {
			t.Errorf("%s: no tokenizer or a probe: %+v", name, r)
		}
		for _, run := range append(r.Runs, r.Run) {
			// Of a caption each part comes after the one before; on one core all
			// tokens may be read at once.
			if !(run.Open > 0 && run.Open < run.FirstToken && run.FirstToken <= run.Caption20) {
				t.Errorf("%s: %+v", name, run)
			}
			for _, v := range []float64{run.Image, run.Vision, run.Prefill, run.DecodeRate, run.VisionGFLOPS, run.PrefillGFLOPS, run.DecodeGBs} {
				if !(v > 0) || math.IsInf(v, 0) {
					t.Errorf("%s: %+v", name, run)
				}
			}
		}
		if (r.PeakRSS <= 0) != (runtime.GOOS != "linux" && runtime.GOOS != "darwin") {
			t.Errorf("peak memory of %d bytes", r.PeakRSS)
		}
	}
}

// One repetition of a model that is not told to be synthetic.
func TestMeasureFile(t *testing.T) {
	s := synthetic(t, "tiny", "f32")
	o := Options{
		Open:        func() (*engine.Engine, error) { return s.Open(engine.Options{Device: "cpu", Threads: 1}) },
		Repetitions: 1, PromptTokens: 1, DecodeTokens: 1,
	}
	r, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Tokenizer <= 0 || r.Synthetic {
		t.Errorf("tokenizer %v ms, synthetic %v", r.Tokenizer, r.Synthetic)
	}
	if !reflect.DeepEqual(r.Runs[0], r.Run) {
		t.Errorf("medians %+v of the one run %+v", r.Run, r.Runs[0])
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"probe_", "null", "sequences"} {
		if strings.Contains(string(data), name) {
			t.Errorf("%s in %s", name, data)
		}
	}
}

func TestMeasureRefuses(t *testing.T) {
	s := synthetic(t, "tiny", "q8_0")
	good := Options{
		Open:        func() (*engine.Engine, error) { return s.Open(engine.Options{Device: "cpu", Threads: 1}) },
		Repetitions: 1, PromptTokens: 1, DecodeTokens: 1,
	}
	for want, change := range map[string]func(*Options){
		"0 repetitions: want 1 to 1000":       func(o *Options) { o.Repetitions = 0 },
		"-1 prompt tokens: want 1 to 1048576": func(o *Options) { o.PromptTokens = -1 },
		"1048577 decode tokens: want 1 to":    func(o *Options) { o.DecodeTokens = 1<<20 + 1 },
		"a prompt of 8191 tokens and 2 more":  func(o *Options) { o.PromptTokens = 8175 },
		"a prompt of 17 tokens and 8176 more": func(o *Options) { o.DecodeTokens = 8175 },
		"0 sequences: want 1 to 64":           func(o *Options) { o.Sequences = []int{1, 0} },
		"65 sequences: want 1 to 64":          func(o *Options) { o.Sequences = []int{65} },
		"2 sequences twice: name each":        func(o *Options) { o.Sequences = []int{2, 1, 2} },
		"unsupported picture":                 func(o *Options) { o.Image = []byte("text") },
		"no model":                            func(o *Options) { o.Open = func() (*engine.Engine, error) { return nil, errors.New("no model") } },
	} {
		o := good
		change(&o)
		if _, err := Measure(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	good.Progress = func(int, int) { cancel() }
	if _, err := Measure(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestMedians(t *testing.T) {
	r := Report{Runs: []Run{{Open: 5, DecodeRate: 2}, {Open: 1, DecodeRate: 4}, {Open: 3, DecodeRate: 3}}}
	r.summarize()
	low, high := r.Spread()
	if r.Open != 3 || r.DecodeRate != 3 || low.Open != 1 || high.Open != 5 || low.DecodeRate != 2 || high.DecodeRate != 4 {
		t.Errorf("%+v, %+v, %+v", r.Run, low, high)
	}
	r.Runs = append(r.Runs, Run{Open: 4, DecodeRate: 9})
	if r.summarize(); r.Open != 3.5 || r.DecodeRate != 3.5 {
		t.Errorf("of four: %+v", r.Run)
	}
	// No field of Run is left out.
	var all Run
	for i, field := range fields {
		*field(&all) = float64(i + 1)
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]float64
	if err := json.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	for name, v := range values {
		if v == 0 {
			t.Errorf("%s is not a field", name)
		}
	}
}

// The arithmetic of a PaliGemma 3B, counted by hand.
func TestFlops(t *testing.T) {
	c, err := syntheticConfig("3b-224")
	if err != nil {
		t.Fatal(err)
	}
	const (
		vision = 256 * 2 * (588*1152 + 27*(4*1152*1152+2*1152*4304) + 1152*2048) // matrices
		look   = 27 * 16 * 2 * 2 * 256 * 256 * 72                                // attention: layers, heads, scores and sums
		attn   = 2048*2048 + 2*2048*256 + 2048*2048
		mlp    = 3 * 2048 * 16384
		text   = 264*2*(18*attn+17*mlp) + 2*mlp + 2*2048*257216
		mix    = 18 * 8 * 2 * 2 * 264 * 264 * 256
	)
	if got := flops(c, 264); got.vision != vision+look || got.prefill != text+mix {
		t.Errorf("%.0f and %.0f, want %d and %d", got.vision, got.prefill, vision+look, text+mix)
	}
}

// What a step of decoding reads: all but the tower, the projector, the final
// norm, and the embedding where it is not the head.
func TestDecodeBytes(t *testing.T) {
	for typ, element := range map[string]float64{"q8_0": 2, "f32": 4} {
		e := open(t, synthetic(t, "pg2-tiny", typ))
		var want int64
		for _, tensor := range e.File().Tensors {
			if !strings.HasPrefix(tensor.Name, "v.") && !strings.HasPrefix(tensor.Name, "mm.") && tensor.Name != "output_norm.weight" {
				want += tensor.Size
			}
		}
		cache := 2 * 2 * 2 * 64 * element * (20 + 5.5) // keys and values, layers, heads, width, tokens
		if got := newWork(e, 20, 10).decodeBytes; got != float64(want)+cache {
			t.Errorf("%s: %.0f bytes, want %d and %.0f of the cache", typ, got, want, cache)
		}
	}
	if headName(model.Config{}) != model.TensorHead || headName(model.Config{Tied: true}) != model.TensorEmbedding {
		t.Error("the head")
	}
}

// A file that does not say what it was converted to.
func TestTypeName(t *testing.T) {
	for _, fileType := range []int32{-1, 1 << 20} {
		var w gguf.Writer
		if fileType > 0 {
			w.SetUint32(gguf.KeyFileType, uint32(fileType))
		}
		for name, typ := range map[string]gguf.Type{"a": gguf.TypeF32, "b": gguf.TypeQ6_K, "c": gguf.TypeQ6_K} {
			if err := w.AddTensor(name, typ, 256, 1+int64(name[0]-'a')); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.AddTensor("d", gguf.TypeQ6_K, 256, 10); err != nil {
			t.Fatal(err)
		}
		f, err := w.Build("x", func(gguf.Tensor, []byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got := typeName(f); got != "q6_k" {
			t.Errorf("file type %d: %s", fileType, got)
		}
	}
}

func TestProbe(t *testing.T) {
	p, err := runProbe(t.Context(), ggml.Options{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []float64{p.Read, p.F32, p.BF16, p.Q8_0, p.Q4_K} {
		if !(v > 0) || math.IsInf(v, 0) {
			t.Errorf("%+v", p)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := runProbe(ctx, ggml.Options{Device: "cpu", Threads: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := runProbe(t.Context(), ggml.Options{Device: "none"}); err == nil {
		t.Error("a device that is not there")
	}
}

func TestSyntheticPicture(t *testing.T) {
	data := syntheticPicture()
	f, err := preprocess.Fit(data, 224, preprocess.Limits{})
	if err != nil || f.Size != image.Pt(1024, 768) || len(f.RGB.Pix) != 3*224*224 {
		t.Errorf("%v, %v", f.Size, err)
	}
	if len(data) < 100_000 || !bytes.Equal(data, syntheticPicture()) {
		t.Errorf("%d bytes", len(data))
	}
}
