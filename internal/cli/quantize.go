package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"paligemma/internal/adapter"
	"paligemma/internal/convert"
	"paligemma/internal/demo"
	"paligemma/internal/engine"
	"paligemma/internal/gguf"
	"paligemma/internal/quote"
)

type quantizeOptions struct {
	Type            string
	LoRA            []string
	AllowRequantize bool
	Overwrite       bool
	Threads         int
}

func (a *app) quantizeCommand() *cobra.Command {
	o := &quantizeOptions{}
	cmd := &cobra.Command{
		Use:   "quantize [IN.gguf] OUT.gguf --type TYPE",
		Short: "Make a GGUF file of another type",
		Long: `Make a model of another type of a GGUF file that convert wrote, and print its
path. IN, which may also be the name of a model that was pulled, stays as it is;
without it, the built-in model is taken. A line with size, bits and types goes to
stderr, and with -v what was chosen for each tensor.

From a file of type f32 this gives the very file that convert --type TYPE makes
of the checkpoint; from bf16 or f16, too, if the checkpoint is of that type.
All metadata is kept, and so is a mask decoder. A tokenizer that was not compiled
when IN was made is compiled if it can be; to do only that, name IN's own type.

A quantized file is refused: what it lost is lost, and rounding again loses
more than rounding the original once. --allow-requantize takes it anyway.
Tensors that are of the wanted type already are copied and lose nothing.

With --lora an adapter of PEFT is merged into the weights before they are
quantized: DIR is its folder, and SCALE (1) multiplies its updates. Several are
added up.

Types, widest first:

` + typeTable(),
		Example: `  paligemma quantize model-f32.gguf model-q4_k_m.gguf --type q4_k_m
  paligemma quantize model-q8_0.gguf small.gguf --type q4_0 --allow-requantize`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usageError{errors.New("OUT.gguf is missing")}
			case len(args) == 1 && exists(args[0]):
				return usageError{fmt.Errorf("OUT.gguf is missing after %s (alone it is a new file, for the built-in model)", quote.Short(args[0]))}
			case len(args) > 2:
				return usageError{fmt.Errorf("unexpected argument %s", quote.Short(args[2]))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			in := ""
			if len(args) == 2 {
				if in = args[0]; in == "" {
					return &engine.ModelError{Err: errEmpty}
				}
			}
			return a.runQuantize(cmd, o, in, args[len(args)-1])
		},
	}
	cmd.Flags().StringVar(&o.Type, "type", "", "`TYPE` of the weights, see above")
	addMergeFlag(cmd.Flags(), &o.LoRA)
	cmd.Flags().BoolVar(&o.AllowRequantize, "allow-requantize", false, "take a model that is quantized already, and lose more")
	cmd.Flags().BoolVar(&o.Overwrite, "overwrite", false, "replace OUT if it exists")
	cmd.Flags().IntVarP(&o.Threads, "threads", "t", 0, "`N` workers (default: one for each core)")
	completeTypes(cmd)
	return cmd
}

func (a *app) runQuantize(cmd *cobra.Command, o *quantizeOptions, in, out string) error {
	if err := checkThreads(o.Threads); err != nil {
		return err
	}
	typ, err := convertType(o.Type)
	if err != nil {
		return err
	}
	if out == "" {
		return errEmpty
	}
	src, err := openGGUF(in)
	if err != nil {
		return explainModel(in, &engine.ModelError{Err: err})
	}
	defer src.Close()
	adapters, err := openAdapters(o.LoRA)
	if err != nil {
		return err
	}
	defer adapter.CloseAll(adapters)
	return a.makeModel(out, func(progress func(done, total int64)) (*convert.Report, error) {
		return convert.Quantize(cmd.Context(), src, out, convert.QuantizeOptions{
			Type: typ, AllowRequantize: o.AllowRequantize, Overwrite: o.Overwrite, Threads: o.Threads, Adapters: adapters, Progress: progress,
		})
	})
}

// exists reports whether there is something of a name.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// openGGUF opens the file of a model: the built-in one where path is empty.
func openGGUF(path string) (*gguf.File, error) {
	if path == "" {
		return demo.Open()
	}
	path, err := modelPath(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil {
		return nil, pathError(path, err)
	} else if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder: make a GGUF file of a checkpoint with `paligemma convert`", path)
	}
	return gguf.Open(path, gguf.Options{})
}
