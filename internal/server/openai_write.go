package server

import (
	"unicode/utf8"

	"paligemma/internal/result"
	"paligemma/internal/task"
)

// completionForm writes texts as OpenAI's clients read them: those of a chat, or of
// completions.
type completionForm struct {
	chat     bool
	id       string
	created  int64
	model    string
	lora     []string
	logProbs bool
}

// completionObject is an answer, or a piece of one.
type completionObject struct {
	ID       string   `json:"id"`
	Object   string   `json:"object"`
	Created  int64    `json:"created"`
	Model    string   `json:"model"`
	LoRA     []string `json:"lora,omitempty"`
	Choices  []any    `json:"choices"`
	Usage    *usage   `json:"usage,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// chatChoice is a text of a chat.
type chatChoice struct {
	Index        int           `json:"index"`
	Message      *chatMessage  `json:"message,omitempty"`
	Delta        *chatDelta    `json:"delta,omitempty"` // in a stream
	LogProbs     *chatLogProbs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
	findings
}

type chatMessage struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"`
}

type chatDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// chatLogProbs are the log-probabilities of the tokens of a text.
type chatLogProbs struct {
	Content []tokenLogProb `json:"content"`
	Refusal *string        `json:"refusal"`
}

type tokenLogProb struct {
	tokenChoice
	Top []tokenChoice `json:"top_logprobs"`
}

type tokenChoice struct {
	Token   string  `json:"token"`
	LogProb float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"` // null where it adds nothing to a text
}

// completionChoice is a text of a completion.
type completionChoice struct {
	Index        int                 `json:"index"`
	Text         string              `json:"text"`
	LogProbs     *completionLogProbs `json:"logprobs"`
	FinishReason *string             `json:"finish_reason"`
	findings
}

type completionLogProbs struct {
	Tokens   []string             `json:"tokens"`
	LogProbs []float64            `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"` // in characters
}

// findings are what a result says besides its text; docs/json.md describes them.
type findings struct {
	Confidence   *float64        `json:"confidence,omitempty"`
	Score        *float64        `json:"score,omitempty"` // of a beam
	Objects      *[]task.Found   `json:"objects,omitempty"`
	Boxes        *[]task.Box     `json:"boxes,omitempty"`
	Masks        *[]task.Mask    `json:"masks,omitempty"`
	Dropped      *[]task.Piece   `json:"dropped,omitempty"`
	DroppedCount int             `json:"dropped_count,omitempty"`
	Scores       *[]result.Score `json:"scores,omitempty"`
}

// newFindings returns what is known of a text.
func newFindings(t *writtenText) findings {
	f := findings{Score: t.score}
	if r := t.result; t.first {
		f.Confidence, f.Objects, f.Boxes, f.Masks = r.Confidence, r.Objects, r.Boxes, r.Masks
		f.Dropped, f.DroppedCount, f.Scores = r.Dropped, r.DroppedCount, r.Scores
	}
	return f
}

// object is what OpenAI calls a whole answer.
func (f *completionForm) object() string {
	if f.chat {
		return "chat.completion"
	}
	return "text_completion"
}

// pieceObject is what OpenAI calls a piece of an answer.
func (f *completionForm) pieceObject() string {
	if f.chat {
		return "chat.completion.chunk"
	}
	return "text_completion"
}

// envelope returns an answer without choices.
func (f *completionForm) envelope(object string) completionObject {
	return completionObject{ID: f.id, Object: object, Created: f.created, Model: f.model, LoRA: f.lora, Choices: []any{}}
}

// choice returns a whole text.
func (f *completionForm) choice(t *writtenText) any {
	if f.chat {
		return chatChoice{
			Index: t.index, Message: &chatMessage{Role: "assistant", Content: t.text}, LogProbs: f.chatLogProbs(t.steps),
			FinishReason: &t.finish, findings: newFindings(t),
		}
	}
	return completionChoice{Index: t.index, Text: t.text, LogProbs: f.completionLogProbs(t.steps, 0), FinishReason: &t.finish, findings: newFindings(t)}
}

// piece returns a piece of a text, which begins at a character of it.
func (f *completionForm) piece(index int, piece string, steps []result.LogProb, at int) any {
	if f.chat {
		return chatChoice{Index: index, Delta: &chatDelta{Content: &piece}, LogProbs: f.chatLogProbs(steps)}
	}
	return completionChoice{Index: index, Text: piece, LogProbs: f.completionLogProbs(steps, at)}
}

// begin returns what comes before the pieces of a text; nil: nothing.
func (f *completionForm) begin(index int) any {
	if !f.chat {
		return nil
	}
	empty := ""
	return chatChoice{Index: index, Delta: &chatDelta{Role: "assistant", Content: &empty}}
}

// end returns what comes after the pieces of a text.
func (f *completionForm) end(t *writtenText) any {
	if f.chat {
		return chatChoice{Index: t.index, Delta: &chatDelta{}, FinishReason: &t.finish, findings: newFindings(t)}
	}
	return completionChoice{Index: t.index, FinishReason: &t.finish, findings: newFindings(t)}
}

// chatLogProbs describes the tokens of a text; nil: nobody asked.
func (f *completionForm) chatLogProbs(steps []result.LogProb) *chatLogProbs {
	if !f.logProbs {
		return nil
	}
	return &chatLogProbs{Content: newTokenLogProbs(steps)}
}

// newTokenLogProbs describes tokens.
func newTokenLogProbs(steps []result.LogProb) []tokenLogProb {
	out := []tokenLogProb{}
	for i := range steps {
		one := tokenLogProb{newTokenChoice(&steps[i]), []tokenChoice{}}
		for j := range steps[i].Top {
			one.Top = append(one.Top, newTokenChoice(&steps[i].Top[j]))
		}
		out = append(out, one)
	}
	return out
}

func newTokenChoice(p *result.LogProb) tokenChoice {
	c := tokenChoice{Token: p.Text, LogProb: p.LogProb}
	for _, b := range p.Bytes {
		c.Bytes = append(c.Bytes, int(b))
	}
	return c
}

// completionLogProbs describes the tokens of a piece of a text that begins at a
// character of it; nil: nobody asked.
func (f *completionForm) completionLogProbs(steps []result.LogProb, at int) *completionLogProbs {
	if !f.logProbs {
		return nil
	}
	out := &completionLogProbs{Tokens: []string{}, LogProbs: []float64{}, Top: []map[string]float64{}, Offsets: []int{}}
	for i := range steps {
		p := &steps[i]
		top := map[string]float64{}
		for j := range p.Top {
			top[p.Top[j].Text] = p.Top[j].LogProb
		}
		out.Tokens = append(out.Tokens, p.Text)
		out.LogProbs = append(out.LogProbs, p.LogProb)
		out.Top = append(out.Top, top)
		out.Offsets = append(out.Offsets, at)
		at += characters(p.Bytes)
	}
	return out
}

// characters counts the characters that begin in bytes.
func characters(data []byte) int {
	n := 0
	for _, b := range data {
		if utf8.RuneStart(b) {
			n++
		}
	}
	return n
}
