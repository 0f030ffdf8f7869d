package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

type scoreOptions struct {
	ask          askOptions
	Prompts      []string
	Suffixes     []string
	SuffixesFrom string
}

func (a *app) scoreCommand() *cobra.Command {
	o := &scoreOptions{}
	cmd := &cobra.Command{
		Use:   "score [IMAGE...] --prompt PROMPT --suffix TEXT...",
		Short: "Rate texts as answers to a prompt",
		Long: `Compute how likely the model is to answer a prompt with each of several texts.
The image and the prompt are computed once for all of them.

Each text is a line, best first, of fields with tabs between them: the sum of
the log-probabilities of its tokens, their mean, the loss (the mean with the
sign changed), the perplexity (e to the power of the loss) and the text. The end
token counts as one of the tokens. The best has the highest sum: it is the
likeliest as a whole. Longer texts have lower sums: to compare texts of
different lengths, sort by the second field.

On a terminal the table has a header and the share of each text, in percent, of
the likelihood of all of them; its columns are aligned.
` + imageHelp + promptHelp,
		Example: `  paligemma score photo.jpg --prompt "What animal is this?" --suffix cat --suffix dog -m model.gguf
  paligemma score photo.jpg --prompt "caption en" --suffixes-from captions.txt --format json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ask.images = args
			return a.runScore(cmd, o)
		},
	}
	f := cmd.Flags()
	o.ask.model.flags(f)
	o.ask.image.flags(f)
	o.ask.image.streamFlag(f)
	o.ask.image.pathFlags(f)
	o.ask.batch.flags(cmd)
	f.StringArrayVarP(&o.Prompts, "prompt", "p", nil, "the `PROMPT`, taken as it is; may be repeated")
	f.StringArrayVar(&o.Suffixes, "suffix", nil, "a `TEXT` to rate, taken as it is; may be repeated")
	f.StringVar(&o.SuffixesFrom, "suffixes-from", "", "take more texts from `FILE`, one a line, empty lines left out; - is stdin")
	o.ask.boxFlag(f, boxUsage)
	return cmd
}

func (a *app) runScore(cmd *cobra.Command, o *scoreOptions) error {
	if len(o.Prompts) == 0 && !o.ask.batch.given() {
		return usageError{errors.New("--prompt is missing (it may be \"\")")}
	}
	suffixes, err := a.readSuffixes(cmd.Context(), o)
	if err != nil {
		return err
	}
	prompts, err := a.readPrompts(cmd.Context(), o.Prompts, o.ask)
	if err != nil {
		return err
	}
	q, err := a.newPromptRequest(cmd, prompts, o.ask, false)
	if err != nil {
		return err
	}
	q.suffixes, q.rate, q.wrap = suffixes, true, asIs
	return a.execute(cmd.Context(), q)
}

// readSuffixes returns the texts of --suffix and --suffixes-from.
func (a *app) readSuffixes(ctx context.Context, o *scoreOptions) ([]string, error) {
	suffixes := slices.Clone(o.Suffixes)
	if o.SuffixesFrom != "" {
		shown := source{path: o.SuffixesFrom}.shown()
		if o.SuffixesFrom == stdinName && (slices.Contains(o.Prompts, stdinName) || slices.Contains(o.ask.images, stdinName) || o.ask.image.FilesFrom == stdinName) {
			return nil, errStdinTwice
		}
		a.noteWaiting(o.SuffixesFrom)
		data, err := a.readText(ctx, o.SuffixesFrom, maxList)
		if err != nil {
			return nil, fmt.Errorf("--suffixes-from %s: %w", shown, err)
		}
		lines, err := splitLines(data)
		if err != nil {
			return nil, fmt.Errorf("--suffixes-from %s, %w", shown, err)
		}
		suffixes = append(suffixes, lines...)
	}
	if len(suffixes) == 0 && !o.ask.batch.given() {
		return nil, usageError{errors.New("--suffix is missing: what is to be rated?")}
	}
	return suffixes, nil
}
