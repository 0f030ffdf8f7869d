package batch

import (
	"encoding/json"
	"errors"
	"fmt"

	"paligemma/internal/batch/source"
	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/result"
)

// The processes of a run talk in lines of JSON: a worker says hello, then each question
// gets a reply, in any order. Names and prompts are bytes, since they may not be UTF-8.

// Hello is what a worker says when its model is open, or cannot be opened.
type Hello struct {
	Model    Model    `json:"model"`
	Adapters []string `json:"adapters"`
	Masks    bool     `json:"masks"`
	Parallel int      `json:"parallel"` // texts that it decodes together
	Failure  string   `json:"failure"`  // why it cannot answer; "": it can
	Code     int      `json:"code"`     // exit code of the failure
}

// question is an item that a worker is asked for.
type question struct {
	Number    int64           `json:"number"`
	Seed      uint64          `json:"seed"` // of the run
	ID        []byte          `json:"id"`
	Prompt    []byte          `json:"prompt"`
	Images    []wireImage     `json:"images"`
	Choices   []string        `json:"choices"`
	Box       *[4]float64     `json:"box"`
	MaxTokens int             `json:"max_tokens"`
	Chat      bool            `json:"chat"`
	Input     json.RawMessage `json:"input"`
}

// wireImage is an image of a question.
type wireImage struct {
	Name    []byte   `json:"name"`
	Data    []byte   `json:"data"` // null: it is a file
	Failure *Failure `json:"failure"`
}

// reply is the record of a question, or what ends the run.
type reply struct {
	Number int64           `json:"number"`
	Line   json.RawMessage `json:"line"`
	Fatal  string          `json:"fatal"`
	Kind   string          `json:"kind"` // of what ends the run
}

// Kinds of what ends a run.
const (
	fatalModel  = "model"
	fatalMemory = "memory"
)

// newQuestion returns an item as a question.
func newQuestion(number int64, seed uint64, it *item) question {
	r := &it.record
	q := question{
		Number: number, Seed: seed, ID: []byte(it.id), Prompt: []byte(it.prompt), Choices: r.Choices, Box: r.Box,
		MaxTokens: r.MaxTokens, Chat: r.Chat, Input: r.Input,
	}
	for i := range r.Images {
		image := &r.Images[i]
		w := wireImage{Name: []byte(image.Name), Data: image.Data}
		if image.Err != nil {
			w.Failure = newFailure(result.ImageError{Err: image.Err})
		}
		q.Images = append(q.Images, w)
	}
	return q
}

// item returns a question as an item.
func (q *question) item() *item {
	it := &item{id: string(q.ID), prompt: string(q.Prompt)}
	it.record = source.Record{Choices: q.Choices, Box: q.Box, MaxTokens: q.MaxTokens, Chat: q.Chat}
	if string(q.Input) != "null" {
		it.record.Input = q.Input
	}
	for _, w := range q.Images {
		image := source.Image{Name: string(w.Name), Data: w.Data}
		if w.Failure != nil {
			image.Err = w.Failure
		}
		it.record.Images = append(it.record.Images, image)
	}
	return it
}

// newReply returns what was answered to a question.
func newReply(number int64, it *item) reply {
	r := reply{Number: number, Line: it.line}
	var bad *engine.ModelError
	switch err := it.fatal; {
	case err == nil:
		return r
	case errors.Is(err, ggml.ErrMemory):
		r.Kind = fatalMemory
	case errors.As(err, &bad):
		r.Kind = fatalModel
	}
	r.Line, r.Fatal = nil, it.fatal.Error()
	return r
}

// fatal returns the error that ends the run; nil: there is a record.
func (r *reply) fatal() error {
	switch {
	case r.Fatal == "":
		return nil
	case r.Kind == fatalModel:
		return &engine.ModelError{Err: errors.New(r.Fatal)}
	case r.Kind == fatalMemory:
		return fmt.Errorf("%w: %s", ggml.ErrMemory, r.Fatal)
	}
	return errors.New(r.Fatal)
}
