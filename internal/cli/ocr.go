package cli

import (
	"paligemma/internal/task"

	"github.com/spf13/cobra"
)

type ocrOptions struct{ ask askOptions }

func (a *app) ocrCommand() *cobra.Command {
	o := &ocrOptions{}
	cmd := &cobra.Command{
		Use:        "ocr IMAGE...",
		SuggestFor: []string{"read", "text"},
		Short:      "Read the text in images",
		Long:       "Read the text in each image." + "\n" + answerHelp,
		Example: `  paligemma ocr receipt.jpg -m model.gguf
  paligemma ocr 'scans/*.png' -m model.gguf --format jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ask.images = args
			return a.runOCR(cmd, o)
		},
	}
	askFlags(cmd, &o.ask, task.MaxTokensOCR)
	return cmd
}

func (a *app) runOCR(cmd *cobra.Command, o *ocrOptions) error {
	if err := o.ask.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	q, err := a.newImageRequest(cmd.Context(), cmd.Name(), []string{task.OCR()}, o.ask)
	if err != nil {
		return err
	}
	return a.execute(cmd.Context(), q)
}
