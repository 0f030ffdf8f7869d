package batch

import (
	"encoding/json"
	"unicode/utf8"

	"paligemma/internal/result"
	"paligemma/internal/task"
)

// Record is what is written of an input. The id, and after it the error of a failure,
// come first.
type Record struct {
	ID         string   `json:"id"`
	Failure    *Failure `json:"error,omitempty"`
	ImageBytes []byte   `json:"image_bytes,omitempty"` // the image's name, where it is not UTF-8
	result.Result
	Boxes *[]task.Box     `json:"boxes,omitempty"` // deprecated in results, and never set here
	Masks *[]task.Mask    `json:"masks,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`
}

// Failure is why an input has no result.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (f *Failure) Error() string { return f.Message }

// FailureCode returns the code.
func (f *Failure) FailureCode() string { return f.Code }

// newFailure describes an error.
func newFailure(err error) *Failure { return &Failure{result.Code(err), result.Message(err)} }

// line returns the record as it is written.
func (r *Record) line() ([]byte, error) {
	if r.Image != "" && !utf8.ValidString(r.Image) {
		r.ImageBytes = []byte(r.Image)
	}
	return result.Marshal(r)
}

// chatRecord is a record in OpenAI's batch format.
type chatRecord struct {
	ID       string        `json:"id"`
	Failure  *Failure      `json:"error"`
	CustomID string        `json:"custom_id"`
	Response *chatResponse `json:"response"`
}

type chatResponse struct {
	StatusCode int            `json:"status_code"`
	RequestID  string         `json:"request_id"`
	Body       chatCompletion `json:"body"`
}

type chatCompletion struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"` // 0: the same run again gives the same bytes
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   chatUsage    `json:"usage"`
}

type chatChoice struct {
	Index        int         `json:"index"`
	Message      chatMessage `json:"message"`
	FinishReason string      `json:"finish_reason"`
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type chatUsage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

// chatLine returns the record in OpenAI's batch format.
func (r *Record) chatLine() ([]byte, error) {
	c := chatRecord{ID: r.ID, CustomID: r.ID, Failure: r.Failure}
	if r.Failure == nil {
		body := chatCompletion{ID: r.ID, Object: "chat.completion", Model: r.Model}
		choice := chatChoice{Message: chatMessage{Role: "assistant"}, FinishReason: r.FinishReason}
		if r.Text != nil {
			choice.Message.Content = *r.Text
		}
		body.Choices = []chatChoice{choice}
		if t := r.Timings; t != nil {
			body.Usage = chatUsage{t.PrefillTokens, t.DecodeTokens, t.PrefillTokens + t.DecodeTokens}
		}
		c.Response = &chatResponse{StatusCode: 200, RequestID: r.ID, Body: body}
	}
	return result.Marshal(c)
}
