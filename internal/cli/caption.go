package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/demo"
	"paligemma/internal/quote"
	"paligemma/internal/task"
)

type captionOptions struct {
	ask   askOptions
	Lang  string
	Style string
}

func (a *app) captionCommand() *cobra.Command {
	o := &captionOptions{}
	cmd := &cobra.Command{
		Use:        "caption IMAGE...",
		SuggestFor: []string{"describe", "look-at", "alt"},
		Short:      "Describe images",
		Long: `Describe each image in a sentence, or with --box a part of it: the prompt is then
"caption <loc…><loc…><loc…><loc…>", without a language.
` + answerHelp,
		Example: `  paligemma caption photo.jpg -m model.gguf
  paligemma caption 'holidays/*.jpg' --lang de --style detailed --format jsonl
  paligemma caption photo.jpg --box 120,40,380,300 --beams 4`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ask.images = args
			return a.runCaption(cmd, o)
		},
	}
	askFlags(cmd, &o.ask, task.MaxTokensText)
	cmd.Flags().StringVar(&o.Lang, "lang", task.DefaultLang, "`CODE` of the caption's language, such as en or de")
	o.ask.boxFlag(cmd.Flags(), "describe a part of the image, `x0,y0,x1,y1` in pixels, if the checkpoint has learned to")
	cmd.Flags().StringVar(&o.Style, "style", task.StyleCOCO, "`STYLE` of the caption: short, coco or detailed")
	return cmd
}

func (a *app) runCaption(cmd *cobra.Command, o *captionOptions) error {
	if err := o.ask.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	if err := checkWord("style", o.Style, enums["style"]); err != nil {
		return err
	}
	prompt, err := task.Caption(o.Lang, o.Style)
	if err != nil {
		return usageError{err}
	}
	if o.ask.model.Model == "" && !slices.Contains(demo.Langs, o.Lang) {
		a.note("the built-in model has learned %s, not %s", strings.Join(demo.Langs, " and "), quote.Short(o.Lang))
	}
	if o.ask.box.given() {
		if typed(cmd.Flags(), "lang") {
			a.note("--lang does nothing with --box: the prompt for a box names no language")
		}
		prompt, _, _ = strings.Cut(prompt, " ")
	}
	q, err := a.newImageRequest(cmd.Context(), cmd.Name(), []string{prompt}, o.ask)
	if err != nil {
		return err
	}
	return a.execute(cmd.Context(), q)
}
