package cli

import (
	"errors"
	"fmt"
	"paligemma/internal/quote"
	"paligemma/internal/task"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

type vqaOptions struct {
	ask       askOptions
	Questions []string
	Choices   string
	Lang      string
}

func (a *app) vqaCommand() *cobra.Command {
	o := &vqaOptions{}
	cmd := &cobra.Command{
		Use:   "vqa IMAGE... --prompt QUESTION",
		Short: "Answer questions about images",
		Long: `Answer each question about each image. An image is looked at once for all its
questions. With --choices the answer is the one that the model is likeliest to
write, end token included; it writes nothing else.
` + answerHelp,
		Example: `  paligemma vqa photo.jpg --prompt "Where is the cat standing?" -m model.gguf
  paligemma vqa photo.jpg --prompt "Is there a cat?" --choices yes,no -m model.gguf`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ask.images = args
			return a.runVQA(cmd, o)
		},
	}
	askFlags(cmd, &o.ask, maxTokensCaption)
	cmd.Flags().StringArrayVar(&o.Questions, "prompt", nil, "the `QUESTION`; may be repeated")
	cmd.Flags().StringVar(&o.Choices, "choices", "", "answer with the likeliest of `A,B,…`")
	exclude(cmd.Flags(), "choices", "temperature", "beams", "logprobs")
	o.ask.boxFlag(cmd.Flags(), boxUsage)
	cmd.Flags().StringVar(&o.Lang, "lang", "", "put \"answer `CODE`\" before the question, as some checkpoints want")
	return cmd
}

func (a *app) runVQA(cmd *cobra.Command, o *vqaOptions) error {
	if err := o.ask.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	if len(o.Questions) == 0 {
		return usageError{errors.New("--prompt is missing: what is the question?")}
	}
	if o.Lang != "" {
		if err := task.CheckLang(o.Lang); err != nil {
			return usageError{err}
		}
	}
	var choices []string
	if cmd.Flags().Changed("choices") {
		if o.ask.sampling.Sampling.Temperature != 0 || o.ask.sampling.Beams > 1 || o.ask.sampling.LogProbs > 0 {
			return usageError{errors.New("--choices excludes --temperature, --beams and --logprobs: nothing is generated")}
		}
		var err error
		if choices, err = splitChoices(o.Choices); err != nil {
			return usageError{err}
		}
	}
	prompts := make([]string, len(o.Questions))
	for i, question := range o.Questions {
		prompts[i] = task.VQA(question, o.Lang)
	}
	q, err := a.newImageRequest(cmd.Context(), cmd.Name(), prompts, o.ask)
	if err != nil {
		return err
	}
	q.suffixes, q.pick = choices, choices != nil
	return a.execute(cmd.Context(), q)
}

// splitChoices reads --choices: texts with commas between them, blanks around
// them not counted.
func splitChoices(text string) ([]string, error) {
	var out []string
	for choice := range strings.SplitSeq(text, ",") {
		choice = strings.TrimSpace(choice)
		switch {
		case choice == "":
			return nil, fmt.Errorf("--choices %s: a choice is empty", quote.Short(text))
		case slices.Contains(out, choice):
			return nil, fmt.Errorf("--choices %s: %s is there twice", quote.Short(text), quote.Short(choice))
		}
		out = append(out, choice)
	}
	if len(out) < 2 {
		return nil, fmt.Errorf("--choices %s: want two or more, with commas between them", quote.Short(text))
	}
	return out, nil
}
