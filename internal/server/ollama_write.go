package server

import (
	"time"

	"paligemma/internal/result"
)

// ollamaForm writes texts as Ollama's clients read them: those of a chat, or generated
// ones.
type ollamaForm struct {
	chat     bool
	model    string
	start    time.Time
	logProbs bool
}

// ollamaPiece is an answer, or a piece of one.
type ollamaPiece struct {
	Model      string         `json:"model"`
	CreatedAt  string         `json:"created_at"`
	Response   *string        `json:"response,omitempty"`
	Message    *ollamaMessage `json:"message,omitempty"`
	LogProbs   []tokenLogProb `json:"logprobs,omitempty"`
	Done       bool           `json:"done"`
	DoneReason string         `json:"done_reason,omitempty"`
	*ollamaCounts
	findings
	Warnings []string `json:"warnings,omitempty"`
}

type ollamaMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// ollamaCounts are tokens, those of images included, and nanoseconds.
type ollamaCounts struct {
	Total       int64 `json:"total_duration"`
	Load        int64 `json:"load_duration"` // of the pictures
	PromptCount int   `json:"prompt_eval_count"`
	Prompt      int64 `json:"prompt_eval_duration"` // and the vision tower's
	Count       int   `json:"eval_count"`
	Eval        int64 `json:"eval_duration"`
}

// piece returns a piece of a text.
func (f *ollamaForm) piece(piece string, steps []result.LogProb) *ollamaPiece {
	p := &ollamaPiece{Model: f.model, CreatedAt: time.Now().UTC().Format(time.RFC3339Nano)}
	if f.chat {
		p.Message = &ollamaMessage{"assistant", piece}
	} else {
		p.Response = &piece
	}
	if f.logProbs {
		p.LogProbs = newTokenLogProbs(steps)
	}
	return p
}

// last returns the end of an answer, with its last piece.
func (f *ollamaForm) last(t *writtenText, piece string, steps []result.LogProb, warnings []string) *ollamaPiece {
	p := f.piece(piece, steps)
	p.Done, p.DoneReason, p.Warnings, p.findings = true, t.finish, warnings, newFindings(t)
	p.ollamaCounts = &ollamaCounts{Total: time.Since(f.start).Nanoseconds(), Count: t.tokens}
	if m := t.result.Timings; m != nil {
		c := p.ollamaCounts
		c.PromptCount = m.PrefillTokens
		c.Load, c.Eval = nanoseconds(m.Image), nanoseconds(m.Decode)
		// The tower's time is that of the first request about the picture.
		c.Prompt = max(0, min(nanoseconds(m.Vision+m.Prefill), c.Total-c.Load-c.Eval))
	}
	return p
}

// nanoseconds converts milliseconds.
func nanoseconds(ms float64) int64 { return int64(ms * float64(time.Millisecond)) }
