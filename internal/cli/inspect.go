package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"paligemma/internal/adapter"
	"paligemma/internal/demo"
	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/regular"
	"paligemma/internal/tokenizer"
	"paligemma/internal/units"
)

type inspectOptions struct {
	Path    string
	Verify  bool
	Keys    bool
	Tensors bool
	LoRA    []string
	devices deviceOptions
}

func (a *app) inspectCommand() *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:   "inspect [MODEL]",
		Short: "Show what is in a model file",
		Long: `Show what a GGUF file, a safetensors file, a checkpoint folder or the folder of an
adapter of PEFT holds; without MODEL, the built-in model. MODEL is a path, or the
name of a model that was pulled, as --model takes it. Of a PaliGemma that is its
family, type (with -v the number of tensors of each), pictures, context, masks,
the memory it needs for one answer and for several at a time, its tokenizer and
its origin.

--keys adds the metadata, --tensors the tensors; JSON has both. Shapes are given
as the file has them: innermost dimension first in GGUF, last in safetensors.

Of a PaliGemma it also says what encodes texts: this program, from a compiled
form of the tokenizer in the file, or Hugging Face's library, which takes a
second to start. Where the compiled form could be added, quantize does that.

--split (or --gpu-layers) shows what each of several devices would hold and compute,
and whether it has the memory for that, with the adapters of --lora. Nothing but the
headers of the files is read.

--verify reads everything: no number may be NaN or infinite, and a GGUF file of
a PaliGemma must load, with its tokenizer, and compute an answer to a made-up
picture.`,
		Example: `  paligemma inspect model.gguf
  paligemma inspect model.gguf --verify
  paligemma inspect model.gguf --keys --tensors
  paligemma inspect model.gguf --device cuda0,cuda1,cpu --split auto
  paligemma inspect paligemma2-3b-mix-224
  paligemma inspect paligemma-3b-mix-224 --json`,
		Args: argsBetween(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if o.Path = args[0]; o.Path == "" {
					return &engine.ModelError{Err: errEmpty}
				}
			}
			return a.runInspect(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&o.Verify, "verify", false, "read everything and check it")
	cmd.Flags().BoolVar(&o.Keys, "keys", false, "show the metadata")
	cmd.Flags().BoolVar(&o.Tensors, "tensors", false, "show the tensors")
	o.devices.flags(cmd.Flags())
	cmd.Flags().StringArrayVar(&o.LoRA, "lora", nil, "with --split or --gpu-layers: plan for the adapter in `DIR[:SCALE]`, too; may be repeated")
	annotate(cmd.Flags(), "lora", listVariable)
	needs(cmd.Flags(), "device", "split", "gpu-layers")
	needs(cmd.Flags(), "lora", "split", "gpu-layers")
	return cmd
}

// inspection is the result of inspect.
type inspection struct {
	Path       string            `json:"path"`
	Format     string            `json:"format"` // gguf, safetensors, checkpoint or adapter
	Version    int               `json:"version,omitempty"`
	Bytes      int64             `json:"bytes"` // of the tensors' data
	Parameters int64             `json:"parameters"`
	Metadata   map[string]any    `json:"metadata"`
	Tensors    []inspectedTensor `json:"tensors"`
	Verified   bool              `json:"verified,omitempty"` // --verify found nothing wrong

	// Model is what people ask first, of a PaliGemma's GGUF file.
	Model *modelSummary `json:"model,omitempty"`

	// Plan is where the model's layers would lie.
	Plan *model.Plan `json:"plan,omitempty"`
	LoRA []string    `json:"lora,omitempty"` // adapters that it is made for, as they were typed

	// Adapter is what is in an adapter.
	Adapter *adapter.Summary `json:"adapter,omitempty"`

	// Tokenizer says what encodes texts, of a PaliGemma's GGUF file.
	Tokenizer *tokenizer.Encoding `json:"tokenizer,omitempty"`

	keys   []string // of Metadata, in the file's order
	types  []string // of the keys, for the table
	verify func(context.Context, func(done int64)) error
	plan   func(engine.Options) (model.Plan, error) // nil: not a GGUF file
	close  func()
}

type inspectedTensor struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Shape []int64 `json:"shape"`
	File  string  `json:"file,omitempty"` // of a checkpoint
	Bytes int64   `json:"bytes"`
}

// add appends a metadata row.
func (i *inspection) add(key, typ string, value any) {
	i.keys, i.types = append(i.keys, key), append(i.types, typ)
	i.Metadata[key] = value
}

func (a *app) runInspect(ctx context.Context, o *inspectOptions) error {
	if o.devices.Device != deviceAuto && !o.devices.splits() {
		return usageError{errors.New("--device needs --split or --gpu-layers, which say what is planned")}
	}
	if len(o.LoRA) > 0 && !o.devices.splits() {
		return usageError{errors.New("--lora needs --split or --gpu-layers: name the adapter in place of the model to see what is in it")}
	}
	if err := o.devices.check(); err != nil {
		return err
	}
	path, err := inspectedPath(o.Path)
	if err != nil {
		return err
	}
	in, err := inspectPath(path)
	if err != nil {
		return explainFile(o.Path, &engine.ModelError{Err: err}, false)
	}
	defer in.close()
	if err := in.place(o); err != nil {
		return err
	}
	if o.Verify {
		bar := a.newBar(in.Bytes, "", true)
		err := in.verify(ctx, bar.set)
		bar.close()
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			return &engine.ModelError{Err: fmt.Errorf("%s: %w", o.Path, err)}
		}
		in.Verified = true
	}
	p := a.newPrinter(layout{})
	if p.format != formatText {
		return p.object(in)
	}
	var b strings.Builder
	if err := in.write(&b, o, a.common.Verbose); err != nil {
		return err
	}
	return a.writeTable(b.String(), "KEY", "TENSOR", "DEVICE")
}

// inspectedPath returns the file or folder that a path or a model's name names. Other
// than for modelPath, a folder that there is comes first, too.
func inspectedPath(text string) (string, error) {
	if _, err := os.Stat(text); err == nil {
		return text, nil
	}
	return modelPath(text)
}

// inspectPath opens what path is: the built-in model where it is empty, a folder, a
// GGUF file by its magic, an index by its name, and otherwise a safetensors file.
func inspectPath(path string) (*inspection, error) {
	if path == "" {
		f, err := demo.Open()
		if err != nil {
			return nil, err
		}
		return inspectFile(f), nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathError(path, err)
	}
	switch {
	case adapter.IsAdapter(path):
		return inspectAdapter(path)
	case info.IsDir():
		return inspectCheckpoint(path)
	}
	magic, err := regular.ReadStart(path, 4)
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.Equal(magic, []byte("GGUF")):
		return inspectGGUF(path)
	case strings.EqualFold(filepath.Ext(path), ".gguf"):
		return nil, fmt.Errorf("%s: not a GGUF file: it begins with %s", path, quote.Short(magic))
	case strings.EqualFold(filepath.Ext(path), ".json"):
		return inspectCheckpoint(path)
	}
	return inspectSafetensors(path)
}

// write prints the summary and the tables that are asked for. Names and values come
// from the file: nothing of them may break a line.
func (i *inspection) write(out io.Writer, o *inspectOptions, histogram bool) error {
	format := i.Format
	if i.Version > 0 {
		format = fmt.Sprintf("%s version %d", format, i.Version)
	}
	fmt.Fprintf(out, "%s: %s, %s, %s parameters, %s\n", escapePath.Replace(i.Path), format, units.Count(len(i.Tensors), "tensor", "tensors"), units.Number(i.Parameters), units.Bytes(i.Bytes))
	if i.Verified {
		fmt.Fprintln(out, "verified: everything was read and is sound")
	}
	encoder := "not sound: --verify says why"
	if i.Tokenizer != nil {
		encoder = i.Tokenizer.String()
	}
	if i.Model != nil {
		if err := i.Model.write(out, encoder, histogram); err != nil {
			return err
		}
	}
	if i.Plan != nil {
		if err := writePlan(out, *i.Plan, i.LoRA); err != nil {
			return err
		}
	}
	if i.Adapter != nil {
		if err := writeAdapter(out, i.Adapter); err != nil {
			return err
		}
	}
	if o.Keys {
		if err := i.writeKeys(out); err != nil {
			return err
		}
	}
	if o.Tensors {
		return i.writeTensors(out)
	}
	return nil
}

// writeKeys prints the metadata.
func (i *inspection) writeKeys(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.DiscardEmptyColumns)
	fmt.Fprintln(w, "\nKEY\tTYPE\tVALUE")
	for n, key := range i.keys {
		fmt.Fprintf(w, "%s\t%s\t%s\n", escapePath.Replace(key), i.types[n], escapePath.Replace(shorten(i.Metadata[key])))
	}
	return w.Flush()
}

// writeTensors prints the tensors.
func (i *inspection) writeTensors(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.DiscardEmptyColumns)
	fmt.Fprintln(w, "\nTENSOR\tTYPE\tSHAPE\tBYTES")
	for _, t := range i.Tensors {
		shape := strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Shape), " ", " × "), "[]")
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", escapePath.Replace(t.Name), t.Type, shape, units.Number(t.Bytes))
	}
	return w.Flush()
}

// shorten formats a value as a table's cell, readable and without copying a long
// string.
func shorten(value any) string {
	const most = 80
	s, ok := value.(string)
	if !ok {
		s = fmt.Sprint(value)
	}
	n := 0
	end := len(s) // of the characters but the last that may be shown
	for i := range s {
		if n++; n == most {
			end = i
		}
		if n > most {
			return s[:end] + "…"
		}
	}
	return s
}
