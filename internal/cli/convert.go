package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"paligemma/internal/adapter"
	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/nearest"
	"paligemma/internal/quote"
	"paligemma/internal/tokenizer"
)

type convertOptions struct {
	Type        string
	Projector   string
	Prefix      string
	Tokenizer   string
	MaskDecoder string
	LoRA        []string
	Overwrite   bool
	Threads     int
}

func (a *app) convertCommand() *cobra.Command {
	o := &convertOptions{}
	cmd := &cobra.Command{
		Use:   "convert CHECKPOINT [OUT.gguf]",
		Short: "Make a GGUF file of a checkpoint",
		Long: `Convert a checkpoint (a folder as transformers' save_pretrained leaves it, a
safetensors file next to its JSON files, or the index of a sharded one)
to one GGUF file, and print its path. Without OUT the file is NAME-TYPE.gguf in
the current folder. A folder of the hub's cache can be named too. What was
ignored goes to stderr, and a line with size, bits and types; -v shows what was
chosen for each tensor, and whether the tokenizer was compiled, so that texts
need not wait for a library.

What was written is opened again, header and tokenizer, before it gets its name.

CHECKPOINT may also be one of big_vision (.npz), whose tokenizer lies next to it
or is named with --tokenizer; or a language model in GGUF, with --mmproj its
vision part, as llama.cpp makes them. With --prefix a PaliGemma within a larger
model, such as a robot's policy, is taken out of its safetensors.

The tokenizer is the checkpoint's tokenizer.json, or else its tokenizer.model
(SentencePiece); --tokenizer names another, or a folder that has one.

With --mask-decoder the decoder of PaliGemma's mask codec goes into the file,
and segment gives masks. Its weights are those of big_vision's vae-oid.npz; they
are stored as f16 if that is the type, else as f32, and never quantized.

With --lora an adapter of PEFT is merged into the weights before they are
quantized: DIR is its folder, and SCALE (1) multiplies its updates. Several are
added up. Every tensor of an adapter is used, or the command fails and names it.

Types, widest first:

` + typeTable(),
		Example: `  paligemma convert paligemma-3b-mix-224 model.gguf --type q8_0
  paligemma convert paligemma-3b-pt-224 mine.gguf --lora my-adapter
  paligemma convert paligemma-3b-mix-224 model.gguf --mask-decoder vae-oid.npz
  paligemma convert paligemma-3b-pt-224.npz model.gguf --tokenizer tokenizer.json
  paligemma convert text.gguf model.gguf --mmproj mmproj.gguf --tokenizer tokenizer.json`,
		Args: argsBetween(1, 2, "CHECKPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runConvert(cmd, o, args)
		},
	}
	cmd.Flags().StringVar(&o.Type, "type", "q8_0", "`TYPE` of the weights, see above")
	cmd.Flags().StringVar(&o.Projector, "mmproj", "", "take the vision part from `FILE`, where CHECKPOINT is a language model in GGUF")
	cmd.Flags().StringVar(&o.Prefix, "prefix", "", "convert the tensors whose names begin with `P`, a PaliGemma in a larger model")
	cmd.Flags().StringVar(&o.Tokenizer, "tokenizer", "", "use the tokenizer at `PATH`: tokenizer.json, tokenizer.model or a folder (default: the checkpoint's)")
	cmd.Flags().StringVar(&o.MaskDecoder, "mask-decoder", "", "put the mask decoder of `FILE`, vae-oid.npz, into the model")
	addMergeFlag(cmd.Flags(), &o.LoRA)
	cmd.Flags().BoolVar(&o.Overwrite, "overwrite", false, "replace OUT if it exists")
	cmd.Flags().IntVarP(&o.Threads, "threads", "t", 0, "`N` workers (default: one for each core)")
	completeTypes(cmd)
	return cmd
}

// typeTable returns the part of a help text that lists the types.
func typeTable() string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, t := range convert.Types() {
		fmt.Fprintf(table, "    %s\t%s\n", t.Name, t.Description)
	}
	table.Flush()
	return b.String()
}

// completeTypes lets shells complete --type.
func completeTypes(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(typeNames(), cobra.ShellCompDirectiveNoFileComp))
}

func typeNames() []string {
	var names []string
	for _, t := range convert.Types() {
		names = append(names, t.Name)
	}
	return names
}

// conversion is the result of convert and quantize in JSON.
type conversion struct {
	Output        string            `json:"output"`
	Type          string            `json:"type"`
	Bytes         int64             `json:"bytes"`
	Parameters    int64             `json:"parameters"`
	BitsPerWeight float64           `json:"bits_per_weight"`
	Notes         []string          `json:"notes,omitempty"`
	Tensors       []convertedTensor `json:"tensors"`

	Tokenizer tokenizer.Encoding `json:"tokenizer"`
}

type convertedTensor struct {
	Name   string `json:"name"`
	Source string `json:"source"` // its name in what was converted
	Type   string `json:"type"`
	Shape  []int  `json:"shape"`            // innermost first, without padding
	Reason string `json:"reason,omitempty"` // of another type than asked for
	Bytes  int64  `json:"bytes"`
}

func (a *app) runConvert(cmd *cobra.Command, o *convertOptions, args []string) error {
	if err := checkThreads(o.Threads); err != nil {
		return err
	}
	typ, err := convertType(o.Type)
	if err != nil {
		return err
	}
	if slices.Contains(args, "") {
		return &engine.ModelError{Err: errEmpty}
	}
	out := convert.DefaultOutput(args[0], typ)
	if len(args) == 2 {
		out = args[1]
	}
	adapters, err := openAdapters(o.LoRA)
	if err != nil {
		return err
	}
	defer adapter.CloseAll(adapters)
	err = a.makeModel(out, func(progress func(done, total int64)) (*convert.Report, error) {
		return convert.Convert(cmd.Context(), args[0], out, convert.Options{
			Type: typ, Overwrite: o.Overwrite, Threads: o.Threads,
			Projector: o.Projector, Prefix: o.Prefix, Tokenizer: o.Tokenizer,
			MaskDecoder: o.MaskDecoder, Adapters: adapters, Progress: progress,
		})
	})
	var bad *engine.ModelError
	if errors.As(err, &bad) {
		return explainCheckpoint(args[0], err)
	}
	return err
}

// makeModel shows the progress of what makes a model, and then what it did.
func (a *app) makeModel(out string, run func(progress func(done, total int64)) (*convert.Report, error)) error {
	var progress bar
	started := false
	report, err := run(func(done, total int64) {
		if !started {
			started = true
			progress = a.newBar(total, "", true)
		}
		progress.set(done)
	})
	progress.close()
	if err != nil {
		return convertError(err)
	}
	if err := a.showReport(report); err != nil {
		return err
	}
	p := a.newPrinter(layout{})
	if p.format == formatText {
		return p.write(out + "\n")
	}
	c := conversion{
		Output: out, Type: report.Type, Bytes: report.Size, Parameters: report.Parameters(),
		BitsPerWeight: report.BitsPerWeight(), Notes: report.Notes, Tensors: []convertedTensor{},
		Tokenizer: report.Tokenizer,
	}
	for _, r := range report.Rows {
		c.Tensors = append(c.Tensors, convertedTensor{Name: r.Name, Source: r.Source, Type: r.Type.String(), Shape: r.Shape, Reason: r.Why, Bytes: r.Bytes})
	}
	return p.object(c)
}

// showReport says what a conversion did: its notes and a line, or with -v all tensors.
func (a *app) showReport(report *convert.Report) error {
	switch {
	case a.common.Quiet:
		return nil
	case a.common.Verbose:
		return report.WriteTable(a.Err)
	}
	for _, note := range report.Notes {
		a.note("%s", note)
	}
	a.say(report.Summary())
	return nil
}

// convertType finds an output type by its name.
func convertType(name string) (string, error) {
	names := typeNames()
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return n, nil
		}
	}
	want := strings.Join(names, ", ")
	if name == "" {
		return "", usageError{fmt.Errorf("--type is missing: want %s", want)}
	}
	return "", usageError{fmt.Errorf("--type %s: want %s%s", quote.Short(name), want, nearest.DidYouMean(nearest.Word(name, names)))}
}

// convertError makes a failure that the checkpoint is to blame for a ModelError, and
// leaves failures to write and what was not allowed.
func convertError(err error) error {
	var output *convert.OutputError
	if errors.As(err, &output) {
		return err
	}
	for _, other := range []error{convert.ErrQuantized, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, other) {
			return err
		}
	}
	return &engine.ModelError{Err: err}
}
