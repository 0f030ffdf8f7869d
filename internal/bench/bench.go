package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/preprocess"
)

// captionTokens is the length of the caption that is timed as a whole.
const captionTokens = 20

// errNotDecoded is the error of a model that gave no tokens to time.
var errNotDecoded = errors.New("the model did not decode")

// Options say what to measure.
type Options struct {
	Open         func() (*engine.Engine, error) // as the program opens a model; called for each repetition
	Synthetic    bool                           // it is a model of random weights
	Image        []byte                         // a picture's file; nil: syntheticPicture
	Limits       preprocess.Limits              // of the picture
	Repetitions  int                            // that count
	PromptTokens int                            // after those of the image, BOS included
	DecodeTokens int                            // steps of decoding, each of which computes one token from the one before
	Sequences    []int                          // numbers of sequences to decode together; Open allows the largest
	Probe        bool                           // measure what the machine can do, too
	Progress     func(done, total int)          // counts 1 + len(Sequences) for each repetition, the one that warms up included; may be nil
}

// Check refuses numbers that make no sense.
func (o Options) Check() error {
	for _, n := range []struct {
		name      string
		value, to int
	}{
		{"repetitions", o.Repetitions, 1000},
		{"prompt tokens", o.PromptTokens, 1 << 20},
		{"decode tokens", o.DecodeTokens, 1 << 20},
	} {
		if n.value < 1 || n.value > n.to {
			return fmt.Errorf("%d %s: want 1 to %d", n.value, n.name, n.to)
		}
	}
	for i, n := range o.Sequences {
		if n < 1 || n > maxSequences {
			return fmt.Errorf("%d sequences: want 1 to %d", n, maxSequences)
		}
		if slices.Contains(o.Sequences[:i], n) {
			return fmt.Errorf("%d sequences twice: name each number once", n)
		}
	}
	return nil
}

// bench is a series of repetitions.
type bench struct {
	Options
	report Report
	ids    []int // of the prompt, those of the image included
	work   work
	done   int // measurements that Progress was told of
}

// progress reports that a measurement is done.
func (b *bench) progress() {
	b.done++
	if b.Progress != nil {
		b.Progress(b.done, (b.Repetitions+1)*(1+len(b.Sequences)))
	}
}

// Measure runs the repetitions. Canceling ctx ends it with ctx's error.
func Measure(ctx context.Context, o Options) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	b := &bench{Options: o}
	if b.Image == nil {
		b.Image = syntheticPicture()
	}
	b.report.LoadAverage = loadAverage()
	for i := range o.Repetitions + 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		run, err := b.repetition(ctx)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.report.Runs = append(b.report.Runs, run)
		}
	}
	b.report.summarize()
	b.report.PeakRSS = peakRSS() // before the probe, which has matrices of its own
	if o.Probe {
		probe, err := runProbe(ctx, ggml.Options{Device: b.report.Device, Threads: b.report.Threads})
		if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		b.report.Probe = probe
	}
	return &b.report, nil
}

// repetition opens the model and measures everything once.
func (b *bench) repetition(ctx context.Context) (Run, error) {
	var r Run
	start := time.Now()
	e, err := b.Open()
	if err != nil {
		return r, err
	}
	defer e.Close()
	r.Open = ms(time.Since(start))
	if b.ids == nil {
		if err := b.describe(e); err != nil {
			return r, err
		}
	}
	if err := b.caption(ctx, e, start, &r); err != nil {
		return r, err
	}
	image, err := b.parts(ctx, e, &r)
	if err != nil {
		return r, err
	}
	start = time.Now()
	err = loadTokenizer(e.File().Header)
	r.Tokenizer = ms(time.Since(start))
	if err != nil {
		return r, err
	}
	b.progress()
	return r, b.batches(ctx, e, image, &r)
}

// caption goes from the picture's bytes to its last token, as the program does.
func (b *bench) caption(ctx context.Context, e *engine.Engine, start time.Time, r *Run) error {
	image, err := b.image(e)
	if err != nil {
		return err
	}
	gen, err := e.Generate(ctx, engine.Request{
		Prompt:    engine.Prompt{Text: "caption en", Images: []*engine.Image{image}},
		MaxTokens: captionTokens,
		IgnoreEOS: true,
		OnToken:   func(int, string) error { return nil }, // text is made of the tokens, as where it is shown
	})
	if err == nil && len(gen.Tokens) < captionTokens {
		err = fmt.Errorf("a caption of %d tokens does not fit in the model's context of %d", captionTokens, e.Config().Text.Context)
	}
	r.FirstToken, r.Caption20 = ms(gen.FirstToken.Sub(start)), ms(gen.LastToken.Sub(start))
	return err
}

// keptTurns is how often parts are computed on devices that keep graphs, before they are
// measured: a prompt's graph is kept when the prompt comes a second time, CUDA records a kept
// graph the second time it is computed, and replays it from the third on, as it does for
// picture after picture.
const keptTurns = 4

// parts measures each part by itself, once it is warm.
func (b *bench) parts(ctx context.Context, e *engine.Engine, r *Run) (image *engine.Image, err error) {
	turns := 1
	if e.KeepsGraphs() {
		turns += keptTurns
	}
	for range turns {
		if image, err = b.image(e); err != nil {
			return nil, err
		}
		if err = b.part(ctx, e, image, r); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// part computes and times each part once.
func (b *bench) part(ctx context.Context, e *engine.Engine, image *engine.Image, r *Run) error {
	if _, err := e.Encode(ctx, image, nil); err != nil {
		return err
	}
	// The prefill gives the first token, each step of decoding one more.
	gen, err := e.Generate(ctx, engine.Request{
		Prompt:    engine.Prompt{IDs: b.ids, Images: []*engine.Image{image}},
		MaxTokens: b.DecodeTokens + 1,
		IgnoreEOS: true,
	})
	if err != nil {
		return err
	}
	if len(gen.Tokens) != b.DecodeTokens+1 || gen.Decode <= 0 {
		return errNotDecoded
	}
	b.report.Graphs = Graphs{image.EncodeGraphs(), gen.PrefillGraphs, gen.DecodeGraphs}
	vision := image.EncodeTime()
	r.Image, r.Vision, r.Prefill = ms(image.FitTime), ms(vision), ms(gen.Prefill)
	r.VisionGFLOPS = b.work.vision / vision.Seconds() / 1e9
	r.PrefillGFLOPS = b.work.prefill / gen.Prefill.Seconds() / 1e9
	r.DecodeRate = float64(b.DecodeTokens) / gen.Decode.Seconds()
	r.DecodeGBs = b.work.decodeBytes * r.DecodeRate / 1e9
	return nil
}

// image decodes the picture and fits it to the model.
func (b *bench) image(e *engine.Engine) (*engine.Image, error) {
	start := time.Now()
	source, err := preprocess.Open(b.Image, b.Limits)
	if err != nil {
		return nil, err
	}
	decode := time.Since(start)
	image, err := e.NewImage(source)
	if err != nil {
		return nil, err
	}
	image.FitTime += decode
	return image, nil
}

// describe notes what is measured, and makes the prompt: random ids after the
// image, of the pieces that a tokenizer could give.
func (b *bench) describe(e *engine.Engine) error {
	c := e.Config()
	n := c.Vision.ImageTokens + b.PromptTokens
	if err := fits(c, n, b.DecodeTokens+1); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, uint64(b.PromptTokens)))
	for range c.Vision.ImageTokens {
		b.ids = append(b.ids, c.Tokens.Image)
	}
	b.ids = append(b.ids, c.Tokens.BOS)
	for len(b.ids) < n {
		if id := random.IntN(c.Tokens.Pieces); id != c.Tokens.Image || c.Tokens.Pieces == 1 {
			b.ids = append(b.ids, id)
		}
	}
	b.work = newWork(e, n, b.DecodeTokens)
	b.report.describe(e)
	b.report.Synthetic = b.Synthetic
	b.report.Repetitions, b.report.PrefillTokens, b.report.DecodeTokens = b.Repetitions, n, b.DecodeTokens
	return nil
}

// fits refuses what the model was not made for.
func fits(c model.Config, prompt, generated int) error {
	if context := c.Text.Context; prompt+generated > context {
		return fmt.Errorf("a prompt of %d tokens and %d more do not fit in the model's context of %d", prompt, generated, context)
	}
	return nil
}

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
