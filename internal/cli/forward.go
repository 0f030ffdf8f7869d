package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/atomicfile"
	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/result"
	"paligemma/internal/safetensors"
	"paligemma/internal/units"
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
	f.StringVarP(&o.Prompt, "prompt", "p", "", "the `PROMPT`, taken as it is")
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
	LoRA    []string       `json:"lora,omitempty"` // adapters, as they were named
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

// forwardRun is a run of forward.
type forwardRun struct {
	*app
	options *forwardOptions
	engine  *engine.Engine
	result  forwardResult
	images  []*engine.Image
}

func (a *app) runForward(ctx context.Context, o *forwardOptions) error {
	q, err := a.forwardRequest(ctx, o)
	if err != nil {
		return err
	}
	out, err := atomicfile.Create(o.Output, o.Overwrite)
	if err != nil {
		return err
	}
	defer out.Abort()
	reader := a.newReader(ctx, q.sources(), q.limits)
	defer reader.close()
	e, err := a.openModel(o.model)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := o.checkOutput(q.sources(), e.Files()); err != nil {
		return err
	}
	reader.open(e)
	r := &forwardRun{app: a, options: o, engine: e, result: forwardResult{Output: o.Output, LoRA: o.model.LoRA, Images: []string{}, Prompt: o.Prompt, Suffix: o.Suffix}}
	sources := q.sources()
	for _, s := range sources {
		if err := r.encode(ctx, reader, s, len(sources) > 1); err != nil {
			return err
		}
	}
	trace, err := r.trace(ctx)
	if err != nil {
		return err
	}
	tensors, err := r.tensors(ctx, trace)
	if err != nil {
		return err
	}
	if err := safetensors.Write(out, tensors, map[string]string{"format": "pt"}); err != nil {
		return fmt.Errorf("%s: %w", o.Output, err)
	}
	if err := out.Commit(); err != nil {
		return err
	}
	return r.print()
}

// checkOutput refuses to replace a file that the run reads.
func (o *forwardOptions) checkOutput(sources []*source, model []string) error {
	inputs := slices.Clone(model)
	for _, s := range sources {
		inputs = append(inputs, s.path)
	}
	return newFiles(true, inputs).check(o.Output)
}

// forwardRequest makes a request of one item: all images and the prompt.
func (a *app) forwardRequest(ctx context.Context, o *forwardOptions) (request, error) {
	q, err := newRequest("forward", askOptions{model: o.model, image: o.image})
	if err != nil {
		return q, err
	}
	prompts, err := a.readPrompts(ctx, []string{o.Prompt}, askOptions{images: o.Images, image: o.image})
	if err != nil {
		return q, err
	}
	o.Prompt = prompts[0]
	sources, err := a.expandImages(ctx, o.Images, o.image)
	if err != nil {
		return q, err
	}
	q.items = []item{{sources: sources, prompts: []string{o.Prompt}}}
	return q, q.hopeless()
}

// encode reads an image and computes its features.
func (r *forwardRun) encode(ctx context.Context, reader *reader, s *source, several bool) error {
	image, err := reader.take(s)
	if err != nil {
		return err
	}
	stop := r.watch(r.engine.Progress, "image")
	_, err = r.engine.Encode(ctx, image.fitted, nil)
	stop()
	if err != nil {
		return err
	}
	r.logWarnings(s.path, image.fitted.Warnings)
	res := &r.result
	res.Warnings = append(res.Warnings, result.NamedWarnings(s.path, several, image.fitted.Warnings)...)
	res.Images = append(res.Images, s.path)
	res.Timings.Image += result.Milliseconds(image.took)
	res.Timings.Vision += result.Milliseconds(image.fitted.EncodeTime())
	r.images = append(r.images, image.fitted)
	return nil
}

// trace runs the model.
func (r *forwardRun) trace(ctx context.Context) (engine.Trace, error) {
	stop := r.watch(r.engine.Progress, "prompt")
	defer stop()
	t, err := r.engine.Forward(ctx, engine.Prompt{Text: r.options.Prompt, Images: r.images}, r.options.Suffix, model.TraceOptions{
		LogitsToKeep: r.options.LogitsToKeep,
		HiddenStates: r.options.HiddenStates,
		Attentions:   r.options.Attentions,
	})
	if err != nil {
		return t, err
	}
	load, err := r.engine.LoadTime()
	r.result.Timings.Forward, r.result.Timings.Load = result.Milliseconds(t.Took), result.Milliseconds(load)
	r.result.Tokens = len(t.IDs)
	if r.options.Suffix != nil {
		r.result.Loss = &t.Loss
	}
	return t, err
}

// print prints what was computed.
func (r *forwardRun) print() error {
	result := r.result
	if r.common.Timings {
		t := result.Timings
		r.say(fmt.Sprintf("load %.0f ms, image %.0f ms, vision %.0f ms, forward %.0f ms (%s)", t.Load, t.Image, t.Vision, t.Forward, units.Count(result.Tokens, "token", "tokens")))
	}
	p := r.newPrinter(layout{})
	if p.format != formatText {
		return p.object(result)
	}
	line := []string{fmt.Sprintf("%s: %s", result.Output, units.Count(result.Tokens, "token", "tokens"))}
	if result.Loss != nil {
		line = append(line, fmt.Sprintf("loss %.6f", *result.Loss))
	}
	return p.write(strings.Join(line, ", ") + "\n")
}

// tensors are the content of forward's file.
func (r *forwardRun) tensors(ctx context.Context, t engine.Trace) ([]safetensors.Data, error) {
	c := r.engine.Config()
	tokens, width, images := int64(len(t.IDs)), int64(c.Text.Hidden), len(r.images)
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
	for _, image := range r.images {
		features, err := r.engine.EncodedValues(ctx, image)
		if err != nil {
			return nil, err
		}
		pixels, hidden = append(pixels, image.Pixels...), append(hidden, features...)
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
	if r.options.Suffix != nil {
		out = append(out, safetensors.NewInt64("labels", []int64{tokens}, t.Labels))
		f32("loss", []float32{float32(t.Loss)}, 1)
	}
	return out, nil
}
