package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"paligemma/internal/bench"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
	"paligemma/internal/result"
)

type benchOptions struct {
	model        modelOptions
	Image        string // "": a synthetic one
	limits       limitOptions
	Synthetic    string
	Type         string
	Repetitions  int
	PromptTokens int
	DecodeTokens int
	Sequences    []int
	NoProbe      bool
}

func (a *app) benchCommand() *cobra.Command {
	o := &benchOptions{}
	cmd := &cobra.Command{
		Use:   "bench [IMAGE]",
		Short: "Measure how fast a model runs here",
		Long: `Measure opening a model, reading a picture, vision tower, prefill, decoding and a
whole caption, several times, and print medians and the spread: of a model file,
or of random weights made in memory, for which no file is needed (--synthetic).
Without IMAGE a synthetic picture of 1024x768 pixels is read.

Each repetition opens the model anew and writes a caption of 20 tokens, timed
from before the model is opened. The parts are then measured by themselves, with
a prompt of random tokens after the image; on a GPU, which has graphs kept for
it, after four turns that do not count. One repetition more, before all others,
warms up.

With --sequences 1,2,4 each repetition also decodes one, two and four sequences
together, all with that prompt, and times a step, which gives a token to each of
them. Every sequence is prefilled first; this takes longer than what is timed.

Next to the times are the arithmetic and the memory traffic that they stand
for, and at the end what ggml reaches on this machine with the same threads:
reading memory, and one large product of matrices in a few types.

Measure on a quiet machine: threads wait for each other.

Synthetic models: ` + strings.Join(bench.SyntheticNames()[:6], ", ") + `,
` + strings.Join(bench.SyntheticNames()[6:], ", ") + `.`,
		Example: `  paligemma bench -m model.gguf
  paligemma bench photo.jpg -m model.gguf --repetitions 9 --format json
  paligemma bench --synthetic pg2-3b-448 --type q4_k_m
  paligemma bench --synthetic 3b-224 --sequences 1,2,4,8,16`,
		Args: argsBetween(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if o.Image = args[0]; o.Image == "" {
					return result.ImageError{Err: errEmpty}
				}
			}
			if o.Synthetic == "" && typed(cmd.Flags(), "type") {
				return usageError{errors.New("--type is of the weights that --synthetic makes: a model file has its own (see paligemma inspect)")}
			}
			return a.runBench(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	o.model.flags(f)
	_ = f.MarkHidden("special") // no prompt is typed here
	f.StringVar(&o.Synthetic, "synthetic", "", "measure random weights of the model `NAME`, see above, and not a file")
	f.StringVar(&o.Type, "type", "q8_0", "with --synthetic, the `TYPE` of the weights (see paligemma help convert)")
	o.limits.flags(f)
	f.IntVar(&o.Repetitions, "repetitions", 5, "measure `N` times")
	f.IntVar(&o.PromptTokens, "prompt-tokens", 8, "`N` tokens of text after those of the image")
	f.IntVar(&o.DecodeTokens, "decode-tokens", 20, "decode `N` tokens after the first")
	f.IntSliceVar(&o.Sequences, "sequences", nil, "also decode several sequences together: each number of them in `LIST`, 1 to 64")
	f.BoolVar(&o.NoProbe, "no-probe", false, "do not measure what the machine can do")
	completeTypes(cmd)
	_ = cmd.RegisterFlagCompletionFunc("synthetic", cobra.FixedCompletions(bench.SyntheticNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) runBench(ctx context.Context, o *benchOptions) error {
	measure, err := o.measurement()
	if err != nil {
		return err
	}
	var warnings []string
	if o.Image != "" {
		if warnings, err = a.benchImage(ctx, o, &measure); err != nil {
			return err
		}
	}
	closeModel, err := a.benchModel(ctx, o, &measure)
	if err != nil {
		return err
	}
	defer closeModel()
	var progress bar
	measure.Progress = func(done, total int) {
		if done == 1 {
			progress = a.newBar(int64(total), "measurements", true)
		}
		progress.set(int64(done))
	}
	report, err := bench.Measure(ctx, measure)
	progress.close()
	if err != nil {
		return err
	}
	report.Warnings, report.LoRA = warnings, o.model.LoRA
	p := a.newPrinter(layout{})
	if p.format != formatText {
		return p.object(report)
	}
	text, err := benchText(report)
	if err != nil {
		return err
	}
	return a.writeTable(text, "WHAT", "SEQUENCES")
}

// measurement checks the flags, and returns what to measure.
func (o *benchOptions) measurement() (bench.Options, error) {
	measure := bench.Options{
		Repetitions:  o.Repetitions,
		PromptTokens: o.PromptTokens,
		DecodeTokens: o.DecodeTokens,
		Sequences:    o.Sequences,
		Probe:        !o.NoProbe,
	}
	if _, err := convertType(o.Type); err != nil {
		return measure, err
	}
	if o.Synthetic != "" {
		if err := checkWord("synthetic", strings.ToLower(o.Synthetic), bench.SyntheticNames()); err != nil {
			return measure, err
		}
	}
	if err := o.model.check(); err != nil {
		return measure, err
	}
	if err := measure.Check(); err != nil {
		return measure, usageError{err}
	}
	return measure, nil
}

// benchModel says what to open for each repetition. The caller closes it.
func (a *app) benchModel(ctx context.Context, o *benchOptions, measure *bench.Options) (closeModel func(), err error) {
	parallel := slices.Max(append(o.Sequences, 1))
	if o.Synthetic == "" {
		a.noteBuiltIn(o.model)
		var first sync.Once
		measure.Open = func() (*engine.Engine, error) {
			e, err := o.model.open(parallel)
			if err == nil {
				first.Do(func() { a.noteModel(e) })
			}
			return e, err
		}
		return func() {}, nil
	}
	typ, err := convertType(o.Type)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(o.Synthetic)
	a.detail("making %s, %s", name, typ)
	weights, err := bench.NewSynthetic(ctx, name, typ)
	if err != nil {
		return nil, err
	}
	measure.Synthetic = true
	measure.Open = func() (*engine.Engine, error) {
		options, err := o.model.options(parallel)
		if err != nil {
			return nil, err
		}
		return weights.Open(options)
	}
	return func() { weights.Close() }, nil
}

// benchImage reads a picture, makes sure that it can be decoded and returns what
// was mended in it.
func (a *app) benchImage(ctx context.Context, o *benchOptions, measure *bench.Options) (warnings []string, err error) {
	data, lim, err := a.readImage(ctx, source{path: o.Image}, o.limits)
	var img preprocess.Fitted
	if err == nil {
		img, err = preprocess.Fit(data, 1, lim)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, result.ImageError{Err: fmt.Errorf("%s: %w", source{path: o.Image}.shown(), err)}
	}
	a.logWarnings(o.Image, img.Warnings)
	measure.Image, measure.Limits = data, lim
	return img.Warnings, nil
}
