package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/ask"
	"paligemma/internal/quote"
	"paligemma/internal/task"
)

type vqaOptions struct {
	ask       askOptions
	Questions []string
	bare      string // the question among the arguments, taken as it is; "": none
	Choices   string
	Lang      string
}

func (a *app) vqaCommand() *cobra.Command {
	o := &vqaOptions{}
	cmd := &cobra.Command{
		Use:        "vqa IMAGE... QUESTION",
		SuggestFor: []string{"ask", "question", "answer"},
		Short:      "Answer questions about images",
		Long: `Answer a question about each image: the last argument, or each --prompt. An image
is looked at once for all its questions. Without --prompt the last argument is
the question, unless it is -, an existing file or folder, or a pattern that
matches files: those are images. A word without blanks that holds a / or ends as
pictures do (.jpg) is taken for an image that does not exist. With --choices the answer is the one that the model is likeliest to
write, end token included; it writes nothing else.
` + answerHelp + promptHelp,
		Example: `  paligemma vqa photo.jpg "Where is the cat standing?" -m model.gguf
  paligemma vqa photo.jpg -p "What is this?" -p "What color is it?" -m model.gguf
  paligemma vqa photo.jpg "Is there a cat?" --choices yes,no -m model.gguf`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ask.images = args
			return a.runVQA(cmd, o)
		},
	}
	askFlags(cmd, &o.ask, task.MaxTokensText)
	cmd.Flags().StringArrayVarP(&o.Questions, "prompt", "p", nil, "the `QUESTION`; may be repeated")
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
	if err := o.takeQuestion(cmd); err != nil && !o.ask.batch.given() {
		return err
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
	questions := []string{o.bare}
	if o.bare == "" {
		var err error
		if questions, err = a.readPrompts(cmd.Context(), o.Questions, o.ask); err != nil {
			return err
		}
	}
	prompts := make([]string, len(questions))
	for i, question := range questions {
		prompts[i] = task.VQA(question, o.Lang)
	}
	q, err := a.newImageRequest(cmd.Context(), cmd.Name(), prompts, o.ask)
	if err != nil {
		return err
	}
	q.suffixes, q.pick, q.rate = choices, choices != nil, choices != nil
	q.wrap = func(question string) string { return task.VQA(question, o.Lang) }
	return a.execute(cmd.Context(), q)
}

// takeQuestion takes the question from the arguments, if --prompt is not among them.
func (o *vqaOptions) takeQuestion(cmd *cobra.Command) error {
	if typed(cmd.Flags(), "prompt") {
		return nil
	}
	if images, question, ok := splitQuestion(o.ask.images); ok {
		o.ask.images, o.bare = images, question
		return nil
	}
	if len(o.Questions) > 0 { // of the environment
		return nil
	}
	for _, arg := range o.ask.images {
		if strings.ContainsAny(arg, " ") && !looksLikePath(arg) {
			return usageError{fmt.Errorf("the question comes last: vqa IMAGE... %s", quote.Short(arg))}
		}
	}
	return usageError{errors.New("the question is missing: vqa IMAGE... \"what is this?\", or --prompt")}
}

// splitChoices reads --choices: texts with commas between them, blanks around
// them not counted.
func splitChoices(text string) ([]string, error) {
	out := strings.Split(text, ",")
	for i, choice := range out {
		out[i] = strings.TrimSpace(choice)
	}
	if err := ask.CheckChoices(out); err != nil {
		return nil, fmt.Errorf("--choices %s: %w (commas go between them)", quote.Short(text), err)
	}
	return out, nil
}
