package bench

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"paligemma/internal/engine"
)

// openParallel opens a model that decodes several sequences together, and a
// bench of its prompt and picture.
func openParallel(t *testing.T, s *Synthetic, parallel int, o Options) (*engine.Engine, *engine.Image, *bench) {
	t.Helper()
	e, err := s.Open(engine.Options{Device: "cpu", Threads: 1, Parallel: parallel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	o.Image, o.PromptTokens = syntheticPicture(), 3
	b := &bench{Options: o}
	if err := b.describe(e); err != nil {
		t.Fatal(err)
	}
	image, err := b.image(e)
	if err != nil {
		t.Fatal(err)
	}
	return e, image, b
}

func TestSequences(t *testing.T) {
	for _, c := range []struct {
		name      string
		sequences []int
	}{
		{"one", []int{1}},
		{"several, in no order", []int{4, 1, 2}},
		{"all that there may be", []int{maxSequences}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := synthetic(t, "tiny", "q8_0")
			var progress []int
			r, err := Measure(t.Context(), Options{
				Open: func() (*engine.Engine, error) {
					return s.Open(engine.Options{Device: "cpu", Threads: 1, Parallel: slices.Max(c.sequences)})
				},
				Repetitions: 2, PromptTokens: 2, DecodeTokens: 3, Sequences: c.sequences,
				Progress: func(done, total int) { progress = append(progress, done, total) },
			})
			if err != nil {
				t.Fatal(err)
			}
			total := 3 * (1 + len(c.sequences))
			if len(progress) != 2*total || progress[0] != 1 || progress[len(progress)-2] != total || progress[1] != total {
				t.Errorf("progress %v, want 1 to %d of %d", progress, total, total)
			}
			low, high := r.Spread()
			for _, run := range append(r.Runs, r.Run, low, high) {
				if len(run.Sequences) != len(c.sequences) {
					t.Fatalf("%d numbers of sequences, want %d", len(run.Sequences), len(c.sequences))
				}
				for i, b := range run.Sequences {
					if b.N != c.sequences[i] || !(b.Step > 0) || !(b.Rate > 0) || math.IsInf(b.Rate, 0) {
						t.Errorf("%+v, want %d sequences", b, c.sequences[i])
					}
				}
			}
			for _, run := range r.Runs {
				for _, b := range run.Sequences {
					if got := b.Step * b.Rate / 1000; math.Abs(got/float64(b.N)-1) > 0.01 {
						t.Errorf("%+v: %.3f tokens a step", b, got)
					}
				}
			}
		})
	}
}

func TestSequencesMedians(t *testing.T) {
	var r Report
	for _, step := range []float64{3, 1, 2} {
		r.Runs = append(r.Runs, Run{Sequences: []Batch{{N: 4, Step: step, Rate: 4000 / step}, {N: 2, Step: 9, Rate: 8}}})
	}
	r.summarize()
	low, high := r.Spread()
	for _, c := range []struct {
		name      string
		got, want []Batch
	}{
		{"median", r.Sequences, []Batch{{4, 2, 2000}, {2, 9, 8}}},
		{"low", low.Sequences, []Batch{{4, 1, 4000.0 / 3}, {2, 9, 8}}},
		{"high", high.Sequences, []Batch{{4, 3, 4000}, {2, 9, 8}}},
		{"first run", r.Runs[0].Sequences, []Batch{{4, 3, 4000.0 / 3}, {2, 9, 8}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !slices.Equal(c.got, c.want) {
				t.Errorf("%v, want %v", c.got, c.want)
			}
		})
	}
}

// Whether a measurement counts: the others have to go on until the last has ended.
func TestDecodeLast(t *testing.T) {
	s := synthetic(t, "tiny", "q8_0")
	for _, c := range []struct {
		name           string
		parallel       int
		others, tokens int
		outlasted      bool
	}{
		{"alone", 1, 0, 0, true},
		{"longer ones", 3, 2, 8000, true},
		{"shorter ones", 3, 2, 2, false},
		{"no place for the last", 2, 2, 50, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, image, b := openParallel(t, s, c.parallel, Options{DecodeTokens: 100})
			took, outlasted, err := b.decodeLast(t.Context(), e, image, c.others, c.tokens)
			if err != nil || outlasted != c.outlasted || took <= 0 {
				t.Errorf("%v, outlasted %v, %v", took, outlasted, err)
			}
		})
	}
}

func TestDecodeTogetherFails(t *testing.T) {
	s := synthetic(t, "tiny", "q8_0")
	for _, c := range []struct {
		name   string
		change func(*bench, *engine.Engine, context.CancelFunc)
		want   string
	}{
		{"no room", func(b *bench, _ *engine.Engine, _ context.CancelFunc) { b.ids = make([]int, 8150) }, "a prompt of 8150 tokens and 573 more"},
		{"a prompt that is wrong", func(b *bench, _ *engine.Engine, _ context.CancelFunc) { b.ids = []int{1 << 20} }, "1048576"},
		{"canceled", func(_ *bench, _ *engine.Engine, cancel context.CancelFunc) { cancel() }, context.Canceled.Error()},
		{"canceled on the way", func(_ *bench, _ *engine.Engine, cancel context.CancelFunc) {
			time.AfterFunc(20*time.Millisecond, cancel)
		}, context.Canceled.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, image, b := openParallel(t, s, 2, Options{DecodeTokens: 500})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c.change(b, e, cancel)
			if _, err := b.decodeTogether(ctx, e, image, 2); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
