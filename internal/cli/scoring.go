package cli

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/result"
)

// score rates the suffixes after a prompt, and prints them or the best of them.
func (r *run) score(ctx context.Context, images []*Image, res *result.Result) error {
	stop := r.watch("prompt")
	found, err := r.engine.Score(ctx, engine.Prompt{Text: *res.Prompt, Images: fitted(images)}, r.suffixes)
	stop()
	if err != nil {
		return err
	}
	if err = r.addTimings(res, images, model.Generation{PrefillTokens: found.PrefillTokens, Prefill: found.Took}); err != nil {
		return err
	}
	res.AddScores(found.Scores, r.pick)
	scores := *res.Scores
	switch {
	case r.printer.format != formatText:
		return r.printer.object(res)
	case !r.pick && r.OutTTY:
		return r.printer.aligned(res.Image, append([][]string{scoreHeader()}, shareRows(scores)...))
	case !r.pick:
		return r.printer.table(res.Image, scoreRows(scores))
	case r.sampling.Scores:
		return r.printer.scored(res.Image, confidenceColumn(res.Confidence), *res.Text)
	}
	return r.printer.text(res.Image, *res.Text)
}

// scoreRows returns the table of scores.
func scoreRows(scores []result.Score) [][]string {
	var rows [][]string
	for _, s := range scores {
		var row []string
		for _, value := range []float64{s.Sum, s.Mean, s.Loss, s.Perplexity} {
			row = append(row, strconv.FormatFloat(value, 'f', 6, 64))
		}
		rows = append(rows, append(row, s.Suffix))
	}
	return rows
}

// scoreHeader names the columns of shareRows.
func scoreHeader() []string { return []string{"SHARE", "SUM", "MEAN", "LOSS", "PERPLEXITY", "TEXT"} }

// shareRows returns the table of scores for people.
func shareRows(scores []result.Score) [][]string {
	shares := shares(scores)
	var rows [][]string
	for i, s := range scores {
		rows = append(rows, []string{
			fmt.Sprintf("%.1f%%", 100*shares[i]), fmt.Sprintf("%.3f", s.Sum), fmt.Sprintf("%.3f", s.Mean), fmt.Sprintf("%.3f", s.Loss),
			fmt.Sprintf("%.4g", s.Perplexity), s.Suffix,
		})
	}
	return rows
}

// shares returns how likely each text is, given that it is one of them. Sums are
// compared with the greatest, since e to a sum may be 0.
func shares(scores []result.Score) []float64 {
	all, out := 0.0, make([]float64, len(scores))
	for i, s := range scores { // best first
		out[i] = math.Exp(s.Sum - scores[0].Sum)
		all += out[i]
	}
	for i := range out {
		out[i] /= all
	}
	return out
}
