package cli

import "paligemma/internal/model"

// outcomes counts the texts of a run that --max-tokens ended, which text on a
// terminal does not show.
type outcomes struct{ texts, cut int }

// add counts a text.
func (o *outcomes) add(reason string) {
	o.texts++
	if reason == model.FinishLength {
		o.cut++
	}
}

// logOutcomes says at the end of a run what its texts do not show.
func (r *run) logOutcomes() {
	if r.printer.format != formatText {
		return // it is there: finish_reason
	}
	switch o := r.outcomes; {
	case o.cut == 0:
	case o.texts == 1:
		r.note("the text ended at --max-tokens %d", r.sampling.MaxTokens)
	default:
		r.note("%d of %d texts ended at --max-tokens %d", o.cut, o.texts, r.sampling.MaxTokens)
	}
}
