package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/atomicfile"
	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
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

// forwarding is a run of forward.
type forwarding struct {
	*app
	*forwardOptions
	e      *engine.Engine
	result forwardResult
	images []*engine.Image
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
	e, err := a.openModel(o.model)
	if err != nil {
		return err
	}
	defer e.Close()
	r.open(e)
	run := &forwarding{app: a, forwardOptions: o, e: e, result: forwardResult{Output: o.Output, Images: []string{}, Prompt: o.Prompt, Suffix: o.Suffix}}
	for _, in := range queue {
		if err := run.encode(ctx, r, in); err != nil {
			return err
		}
	}
	trace, err := run.trace(ctx)
	if err != nil {
		return err
	}
	tensors, err := run.tensors(ctx, trace)
	if err != nil {
		return err
	}
	if err := safetensors.Write(out, tensors, map[string]string{"format": "pt"}); err != nil {
		return fmt.Errorf("%s: %w", o.Output, err)
	}
	if err := out.Commit(); err != nil {
		return err
	}
	return run.print()
}

// encode reads an image and computes its features.
func (run *forwarding) encode(ctx context.Context, r *reader, in *input) error {
	pic, err := r.take(in)
	if err != nil {
		return err
	}
	stop := run.watch(run.e.Progress, "image")
	_, err = run.e.Encode(ctx, pic.Image)
	stop()
	if err != nil {
		return err
	}
	run.logWarnings(in.path, pic.Warnings)
	result := &run.result
	result.Warnings = append(result.Warnings, named(in.path, len(run.Images) > 1, pic.Warnings)...)
	result.Images = append(result.Images, in.path)
	result.Timings.Image += ms(pic.took)
	result.Timings.Vision += ms(pic.EncodeTime())
	run.images = append(run.images, pic.Image)
	return nil
}

// trace runs the model.
func (run *forwarding) trace(ctx context.Context) (engine.Trace, error) {
	stop := run.watch(run.e.Progress, "prompt")
	defer stop()
	t, err := run.e.Forward(ctx, engine.Prompt{Text: run.Prompt, Images: run.images}, run.Suffix, model.TraceOptions{
		LogitsToKeep: run.LogitsToKeep,
		HiddenStates: run.HiddenStates,
		Attentions:   run.Attentions,
	})
	if err != nil {
		return t, err
	}
	load, err := run.e.LoadTime()
	run.result.Timings.Forward, run.result.Timings.Load = ms(t.Took), ms(load)
	run.result.Tokens = len(t.IDs)
	if run.Suffix != nil {
		run.result.Loss = &t.Loss
	}
	return t, err
}

// print tells what was computed.
func (run *forwarding) print() error {
	result := run.result
	if run.common.Timings {
		t := result.Timings
		run.complain(fmt.Errorf("load %.0f ms, image %.0f ms, vision %.0f ms, forward %.0f ms (%d tokens)", t.Load, t.Image, t.Vision, t.Forward, result.Tokens))
	}
	p := run.newPrinter(false)
	if p.format != formatText {
		return p.object(result)
	}
	line := []string{fmt.Sprintf("%s: %d tokens", result.Output, result.Tokens)}
	if result.Loss != nil {
		line = append(line, fmt.Sprintf("loss %.6f", *result.Loss))
	}
	return p.write(strings.Join(line, ", ") + "\n")
}

// tensors are the content of forward's file.
func (run *forwarding) tensors(ctx context.Context, t engine.Trace) ([]safetensors.Data, error) {
	c := run.e.Config()
	tokens, width, images := int64(len(t.IDs)), int64(c.Text.Hidden), len(run.images)
	ids := make([]int64, len(t.IDs))
	for i, id := range t.IDs {
		ids[i] = int64(id)
	}
	out := []safetensors.Data{
		safetensors.NewInt64("input_ids", []int64{tokens}, ids),
		safetensors.NewInt64("token_type_ids", []int64{tokens}, t.TokenTypes),
	}
	f32 := func(name string, values []float32, shape ...int64) {
		out = append(out, safetensors.NewFloat32(name, shape, values))
	}
	var pixels, hidden []float32
	for _, image := range run.images {
		features, err := run.e.Encode(ctx, image)
		if err != nil {
			return nil, err
		}
		pixels, hidden = append(pixels, image.Pixels...), append(hidden, features.Values...)
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
	if run.Suffix != nil {
		out = append(out, safetensors.NewInt64("labels", []int64{tokens}, t.Labels))
		f32("loss", []float32{float32(t.Loss)}, 1)
	}
	return out, nil
}
