package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"paligemma/internal/bench"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
	"paligemma/internal/quote"
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
a prompt of random tokens after the image. One repetition more, before all
others, warms up.

With --sequences 1,2,4 each repetition also decodes one, two and four sequences
together, all with that prompt, and times a step, which gives a token to each of
them. Every sequence is prefilled first; this takes longer than what is timed.

Beside the times stand the arithmetic and the memory traffic that they stand
for, and at the end what ggml reaches on this machine with the same threads:
reading memory, and one large product of matrices in a few types.

Measure on a quiet machine: ggml's threads wait for each other by spinning.

Synthetic models: ` + strings.Join(bench.SyntheticNames()[:6], ", ") + `,
` + strings.Join(bench.SyntheticNames()[6:], ", ") + `.`,
		Example: `  paligemma bench -m model.gguf
  paligemma bench photo.jpg -m model.gguf --repetitions 9 --format json
  paligemma bench --synthetic pg2-3b-448 --type q4_k_m
  paligemma bench --synthetic 3b-224 --sequences 1,2,4,8,16`,
		Args: argsBetween(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.Image = args[0]
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
	typ, err := convertType(o.Type)
	if err != nil {
		return err
	}
	o.Synthetic = strings.ToLower(o.Synthetic)
	if o.Synthetic != "" {
		if err := checkWord("synthetic", o.Synthetic, bench.SyntheticNames()); err != nil {
			return err
		}
	}
	measure := bench.Options{
		Repetitions:  o.Repetitions,
		PromptTokens: o.PromptTokens,
		DecodeTokens: o.DecodeTokens,
		Sequences:    o.Sequences,
		Probe:        !o.NoProbe,
	}
	if err := o.model.check(); err != nil {
		return err
	}
	if err := measure.Check(); err != nil {
		return usageError{err}
	}
	for _, n := range o.Sequences {
		o.model.parallel = max(n, o.model.parallel)
	}
	var warnings []string
	if o.Image != "" {
		if warnings, err = a.benchImage(ctx, o, &measure); err != nil {
			return err
		}
	}
	if o.Synthetic == "" {
		measure.Open = a.benchOpener(o.model)
	} else {
		a.detail("making %s, %s", o.Synthetic, typ)
		weights, err := bench.NewSynthetic(ctx, o.Synthetic, typ)
		if err != nil {
			return err
		}
		defer weights.Close()
		measure.Synthetic = true
		measure.Open = func() (*engine.Engine, error) {
			return weights.Open(engine.Options{Device: o.model.Device, Threads: o.model.Threads, Parallel: max(1, o.model.parallel)})
		}
	}
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
	report.Warnings = warnings
	p := a.newPrinter(false)
	if p.format != formatText {
		return p.object(report)
	}
	text, err := benchText(report)
	if err != nil {
		return err
	}
	return p.write(text)
}

// benchImage reads a picture, makes sure that it can be decoded and returns what
// was mended in it.
func (a *app) benchImage(ctx context.Context, o *benchOptions, measure *bench.Options) (warnings []string, err error) {
	data, lim, err := a.readImage(ctx, o.Image, o.limits)
	var img preprocess.Fitted
	if err == nil {
		img, err = preprocess.Fit(data, 1, lim)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && o.Image == stdinName:
		return nil, imageError{fmt.Errorf("standard input: %w", err)}
	case err != nil:
		return nil, imageError{fmt.Errorf("%s: %w", o.Image, err)}
	}
	a.logWarnings(o.Image, img.Warnings)
	measure.Image, measure.Limits = data, lim
	return img.Warnings, nil
}

// benchOpener opens a model as the other commands do.
func (a *app) benchOpener(o modelOptions) func() (*engine.Engine, error) {
	opener := *a
	return func() (*engine.Engine, error) {
		e, err := opener.openModel(o)
		opener.common.Quiet = true // what it has to say is said once
		return e, err
	}
}

// benchRow is a line of the table.
type benchRow struct {
	what, unit     string
	mid, low, high float64
	achieved       string
}

// writeBenchRows writes a section of the table, and an empty line.
func writeBenchRows(b *bytes.Buffer, what string, rows []benchRow) error {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\tUNIT\tMEDIAN\tMIN\tMAX\tACHIEVED\n", what)
	for _, row := range rows {
		if row.mid > 0 {
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s\t%s\t%.2f\t%.2f\t%.2f\t%s", row.what, row.unit, row.mid, row.low, row.high, row.achieved), "\t"))
		}
	}
	err := w.Flush()
	fmt.Fprintln(b)
	return err
}

// benchText is the table.
func benchText(r *bench.Report) (string, error) {
	var b bytes.Buffer
	kind := ""
	if r.Synthetic {
		kind = "synthetic, "
	}
	fmt.Fprintf(&b, "%s: %s%s, %d weights in %s\n", r.Model, kind, r.Type, r.Parameters, quote.Bytes(r.Bytes))
	fmt.Fprintf(&b, "%s, %d threads: %s\n", r.Device, r.Threads, r.CPU)
	fmt.Fprintf(&b, "%d prompt tokens, %d decoded, %d repetitions\n\n", r.PrefillTokens, r.DecodeTokens, r.Repetitions)

	low, high := r.Spread()
	rows := []benchRow{
		{"open", "ms", r.Open, low.Open, high.Open, ""},
		{"tokenizer", "ms", r.Tokenizer, low.Tokenizer, high.Tokenizer, ""},
		{"image", "ms", r.Image, low.Image, high.Image, ""},
		{"vision", "ms", r.Vision, low.Vision, high.Vision, fmt.Sprintf("%.1f GFLOPS", r.VisionGFLOPS)},
		{"prefill", "ms", r.Prefill, low.Prefill, high.Prefill, fmt.Sprintf("%.1f GFLOPS", r.PrefillGFLOPS)},
		{"decode", "tokens/s", r.DecodeRate, low.DecodeRate, high.DecodeRate, fmt.Sprintf("%.1f GB/s", r.DecodeGBs)},
		{"first token", "ms", r.FirstToken, low.FirstToken, high.FirstToken, ""},
		{"caption of 20", "ms", r.Caption20, low.Caption20, high.Caption20, ""},
	}
	if err := writeBenchRows(&b, "WHAT", rows); err != nil {
		return "", err
	}
	if len(r.Sequences) > 0 {
		rows = nil
		for i, s := range r.Sequences {
			rows = append(rows, benchRow{strconv.Itoa(s.N), "ms/step", s.Step, low.Sequences[i].Step, high.Sequences[i].Step, fmt.Sprintf("%.1f tokens/s", s.Rate)})
		}
		if err := writeBenchRows(&b, "SEQUENCES", rows); err != nil {
			return "", err
		}
	}
	if r.PeakRSS > 0 {
		fmt.Fprintf(&b, "peak memory: %s\n", quote.Bytes(r.PeakRSS))
	}
	if p := r.Probe; p != nil {
		fmt.Fprintf(&b, "what ggml reaches here: reads %.1f GB/s; products in f32 %.0f, bf16 %.0f, q8_0 %.0f, q4_k %.0f GFLOPS\n", p.Read, p.F32, p.BF16, p.Q8_0, p.Q4_K)
	}
	return b.String(), nil
}
