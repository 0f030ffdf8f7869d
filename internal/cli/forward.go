package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"paligemma/internal/atomicfile"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
	"paligemma/internal/tokenizer"
)

type forwardOptions struct {
	model        modelOptions
	image        imageOptions
	Images       []string
	Prompt       string
	Suffix       *string // nil: none
	Output       string
	Overwrite    bool
	LogitsToKeep int
	HiddenStates bool
	Attentions   bool
}

func (a *app) forwardCommand() *cobra.Command {
	o := &forwardOptions{}
	var suffix string
	cmd := &cobra.Command{
		Use:   "forward [IMAGE...] --prompt PROMPT [--suffix SUFFIX] --output OUT.safetensors",
		Short: "Run one forward pass and write what was computed",
		Long: `Run the model once over all images and the prompt, without generating, and write
a safetensors file (F32 but for the integers):

    input_ids            I64 [T]
    token_type_ids       I64 [T]: 0 prefix, 1 suffix
    pixel_values         [images, 3, S, S]
    image_hidden_states  [images, tokens, hidden]: the projector's output
    logits               [T, vocabulary], or the last K positions
    hidden_states.0 …    [T, hidden], with --hidden-states
    attentions.0 …       [heads, T, T], with --attentions
    labels               I64 [T], with --suffix: -100 where not counted
    loss                 [1], with --suffix`,
		Example: "  paligemma forward photo.jpg --prompt 'caption en' --suffix 'a cat' --output out.safetensors -m model.gguf",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Images = args
			if cmd.Flags().Changed("suffix") {
				o.Suffix = &suffix
			}
			switch {
			case !cmd.Flags().Changed("prompt"):
				return usageError{errors.New("--prompt is missing (it may be \"\")")}
			case o.Output == "":
				return usageError{errors.New("--output is missing: the safetensors file to write")}
			case o.LogitsToKeep < 0:
				return usageError{fmt.Errorf("--logits-to-keep %d: want 0 (all) or more", o.LogitsToKeep)}
			}
			return a.runForward(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	o.model.flags(f)
	o.image.flags(f)
	f.StringVar(&o.Prompt, "prompt", "", "the `PROMPT`, taken as it is")
	f.StringVar(&suffix, "suffix", "", "the `TEXT` that the model should write: gives labels and a loss")
	f.StringVarP(&o.Output, "output", "o", "", "the `FILE` to write")
	f.BoolVar(&o.Overwrite, "overwrite", false, "replace the output if it exists")
	f.IntVar(&o.LogitsToKeep, "logits-to-keep", 0, "keep the logits of the last `K` positions; 0: of all")
	f.BoolVar(&o.HiddenStates, "hidden-states", false, "write the hidden states of each layer")
	f.BoolVar(&o.Attentions, "attentions", false, "write the attention weights of each layer")
	return cmd
}

// forwardResult is the result of forward in JSON.
type forwardResult struct {
	Output  string         `json:"output"`
	Images  []string       `json:"images"`
	Prompt  string         `json:"prompt"`
	Suffix  *string        `json:"suffix,omitempty"`
	Tokens  int            `json:"tokens"` // T
	Loss    *float64       `json:"loss,omitempty"`
	Timings forwardTimings `json:"timings"`

	Warnings []string `json:"warnings,omitempty"`
}

type forwardTimings struct {
	Load    float64 `json:"load_ms"`
	Image   float64 `json:"image_ms"`
	Vision  float64 `json:"vision_ms"`
	Forward float64 `json:"forward_ms"`
}

func (a *app) runForward(ctx context.Context, o *forwardOptions) error {
	if err := cmp.Or(o.model.check(), o.image.check()); err != nil {
		return err
	}
	inputs, err := a.expandImages(ctx, o.Images, o.image)
	if err != nil {
		return err
	}
	queue := make([]*input, len(inputs))
	for i := range inputs {
		if inputs[i].err != nil {
			return imageError{inputs[i].err}
		}
		queue[i] = &inputs[i]
	}
	out, err := atomicfile.Create(o.Output, o.Overwrite)
	if err != nil {
		return err
	}
	defer out.Abort()
	r := a.newReader(ctx, queue, o.image)
	defer r.close()
	s, err := a.openModel(o.model)
	if err != nil {
		return err
	}
	defer s.close()
	r.open(s.config.Vision)

	result := forwardResult{Output: o.Output, Images: []string{}, Prompt: o.Prompt, Suffix: o.Suffix}
	var features []model.Features
	var pixels, hidden []float32
	for _, in := range queue {
		pic, err := r.take(in)
		if err != nil {
			return err
		}
		stop := a.watch(s.engine.Progress, "image")
		f, took, err := s.encode(ctx, pic)
		stop()
		if err != nil {
			return err
		}
		a.logWarnings(in.path, pic.warnings)
		result.Warnings = append(result.Warnings, named(in.path, len(queue) > 1, pic.warnings)...)
		features = append(features, f)
		pixels = append(pixels, pic.pixels...)
		hidden = append(hidden, f.Values...)
		result.Images = append(result.Images, in.path)
		result.Timings.Image += ms(pic.took)
		result.Timings.Vision += ms(took)
	}
	prompt, err := s.prompt(o.Prompt, features)
	if err != nil {
		return err
	}
	var suffix []int
	if o.Suffix != nil {
		if suffix, err = s.tok.Suffix(*o.Suffix); err != nil {
			return err
		}
	}
	ids := slices.Concat(prompt.IDs, suffix)
	if len(ids) > s.config.Text.Context {
		return fmt.Errorf("%d tokens are more than the model's context of %d", len(ids), s.config.Text.Context)
	}
	stop := a.watch(s.engine.Progress, "prompt")
	defer stop()
	start := time.Now()
	trace, err := s.model.Trace(ctx, prompt, suffix, model.TraceOptions{
		LogitsToKeep: min(o.LogitsToKeep, len(ids)),
		HiddenStates: o.HiddenStates,
		Attentions:   o.Attentions,
	})
	if err == nil && (slices.ContainsFunc(trace.Logits, func(v float32) bool { return v != v }) || math.IsNaN(trace.Loss)) {
		err = model.ErrNaN
	}
	if err := s.blame(err); err != nil {
		return err
	}
	stop()
	result.Timings.Forward, result.Timings.Load = ms(time.Since(start)), ms(s.load)
	result.Tokens = len(ids)
	if suffix != nil {
		result.Loss = &trace.Loss
	}
	tensors := forwardTensors(s.config, ids, len(suffix), pixels, hidden, len(inputs), trace)
	if err := safetensors.Write(out, tensors, map[string]string{"format": "pt"}); err != nil {
		return fmt.Errorf("%s: %w", o.Output, err)
	}
	if err := out.Commit(); err != nil {
		return err
	}
	if a.common.Timings {
		t := result.Timings
		a.complain(fmt.Errorf("load %.0f ms, image %.0f ms, vision %.0f ms, forward %.0f ms (%d tokens)", t.Load, t.Image, t.Vision, t.Forward, result.Tokens))
	}
	p := a.newPrinter(false)
	if p.format != formatText {
		return p.object(result)
	}
	line := []string{fmt.Sprintf("%s: %d tokens", o.Output, result.Tokens)}
	if result.Loss != nil {
		line = append(line, fmt.Sprintf("loss %.6f", *result.Loss))
	}
	return p.write(strings.Join(line, ", ") + "\n")
}

// forwardTensors is the content of forward's file.
func forwardTensors(c model.Config, ids []int, suffix int, pixels, hidden []float32, images int, t model.Trace) []safetensors.Data {
	tokens, width := int64(len(ids)), int64(c.Text.Hidden)
	wide := make([]int64, len(ids))
	for i, id := range ids {
		wide[i] = int64(id)
	}
	out := []safetensors.Data{
		safetensors.NewInt64("input_ids", []int64{tokens}, wide),
		safetensors.NewInt64("token_type_ids", []int64{tokens}, tokenizer.TokenTypes(len(ids)-suffix, suffix)),
	}
	f32 := func(name string, values []float32, shape ...int64) {
		out = append(out, safetensors.NewFloat32(name, shape, values))
	}
	if images > 0 {
		side := int64(c.Vision.ImageSize)
		f32("pixel_values", pixels, int64(images), 3, side, side)
		f32("image_hidden_states", hidden, int64(images), int64(c.Vision.ImageTokens), width)
	}
	f32("logits", t.Logits, int64(t.LogitRows), int64(c.Text.Vocab))
	for i, h := range t.HiddenStates {
		f32(fmt.Sprintf("hidden_states.%d", i), h, tokens, width)
	}
	for i, w := range t.Attentions {
		f32(fmt.Sprintf("attentions.%d", i), w, int64(c.Text.Heads), tokens, tokens)
	}
	if suffix > 0 {
		out = append(out, safetensors.NewInt64("labels", []int64{tokens}, t.Labels))
		f32("loss", []float32{float32(t.Loss)}, 1)
	}
	return out
}
