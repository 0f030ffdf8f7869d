package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/quote"
)

// Score is how likely a model is to write a text; the end token counts.
type Score struct {
	Suffix     string    `json:"suffix"`
	Tokens     []int     `json:"tokens"`
	LogProbs   []float64 `json:"logprobs"`
	Sum        float64   `json:"sum"`
	Mean       float64   `json:"mean"`
	Loss       float64   `json:"loss"`       // −mean
	Perplexity float64   `json:"perplexity"` // e^loss
}

type scoreOptions struct {
	asking
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
sign turned), the perplexity (e to the power of the loss) and the text. The end
token counts as one of the tokens. The best has the highest sum: it is the
likeliest as a whole. Longer texts have lower sums: to compare texts of
different lengths, sort by the second field.
` + imageHelp,
		Example: `  paligemma score photo.jpg --prompt "What animal is this?" --suffix cat --suffix dog -m model.gguf
  paligemma score photo.jpg --prompt "caption en" --suffixes-from captions.txt --format json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.images = args
			return a.runScore(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	o.model.flags(f)
	o.image.flags(f)
	f.StringArrayVar(&o.Prompts, "prompt", nil, "the `PROMPT`, taken as it is; may be repeated")
	f.StringArrayVar(&o.Suffixes, "suffix", nil, "a `TEXT` to rate, taken as it is; may be repeated")
	f.StringVar(&o.SuffixesFrom, "suffixes-from", "", "take more texts from `FILE`, one a line, empty lines left out; - is stdin")
	boxFlag(f, &o.asking, boxUsage)
	return cmd
}

func (a *app) runScore(ctx context.Context, o *scoreOptions) error {
	if len(o.Prompts) == 0 {
		return usageError{errors.New("--prompt is missing (it may be \"\")")}
	}
	o.suffixes = slices.Clone(o.Suffixes)
	if o.SuffixesFrom != "" {
		if o.SuffixesFrom == stdinName && (slices.Contains(o.images, stdinName) || o.image.FilesFrom == stdinName) {
			return usageError{errors.New("standard input (-) can be read only once")}
		}
		lines, err := a.readLines(ctx, o.SuffixesFrom)
		if err != nil {
			return fmt.Errorf("--suffixes-from %s: %w", o.SuffixesFrom, err)
		}
		o.suffixes = append(o.suffixes, lines...)
	}
	if len(o.suffixes) == 0 {
		return usageError{errors.New("--suffix is missing: what is to be rated?")}
	}
	o.task, o.prompts, o.noImage = "score", o.Prompts, true
	return a.ask(ctx, o.asking)
}

// readLines reads the lines of a file that are not empty.
func (a *app) readLines(ctx context.Context, path string) ([]string, error) {
	data, err := a.readAll(ctx, path, maxList)
	if err != nil {
		return nil, err
	}
	var found []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if lines.Text() != "" {
			found = append(found, lines.Text())
		}
	}
	return found, lines.Err()
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

// score rates the suffixes after a prompt and prints them, or the best of them.
func (q *inquiry) score(ctx context.Context, v *view, prompt string) error {
	stop := q.watch("prompt")
	found, err := q.e.Score(ctx, engine.Prompt{Text: prompt, Images: v.images}, q.suffixes)
	stop()
	if err != nil {
		return err
	}
	times, err := q.timings(v, model.Generation{PrefillTokens: found.PrefillTokens, Prefill: found.Took})
	if err != nil {
		return err
	}
	scores := make([]Score, len(found.Scores))
	for i, s := range found.Scores {
		scores[i] = Score{
			Suffix: s.Text, Tokens: s.IDs, LogProbs: s.LogProbs,
			Sum: s.Sum, Mean: s.Mean, Loss: -s.Mean, Perplexity: perplexity(s.Mean),
		}
	}
	slices.SortStableFunc(scores, func(a, b Score) int { return cmp.Compare(b.Sum, a.Sum) })
	best := scores[0]
	switch {
	case q.p.format != formatText:
		r := v.result
		r.Prompt, r.Scores, r.Timings = &prompt, &scores, &times
		if q.pick {
			tokens := best.Tokens[:len(best.Tokens)-1]
			r.Text, r.Tokens, r.FinishReason = &best.Suffix, &tokens, model.FinishStop
			r.Confidence = confidenceOf(best.Mean, 1)
		}
		err = q.p.object(r)
	case q.pick && q.sampling.Scores:
		err = q.p.scored(v.result.Image, confidenceColumn(confidenceOf(best.Mean, 1)), best.Suffix)
	case q.pick:
		err = q.p.text(v.result.Image, best.Suffix)
	default:
		for _, s := range scores {
			row := []string{}
			for _, value := range []float64{s.Sum, s.Mean, s.Loss, s.Perplexity} {
				row = append(row, strconv.FormatFloat(value, 'f', 6, 64))
			}
			if err = q.p.row(v.result.Image, append(row, s.Suffix)...); err != nil {
				break
			}
		}
	}
	if err == nil {
		q.tellTimings(v, times)
	}
	return err
}

// perplexity is e^−mean, kept to what JSON can hold.
func perplexity(mean float64) float64 { return min(math.Exp(-mean), math.MaxFloat64) }
