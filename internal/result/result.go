// Package result is what JSON says of a request: docs/json.md describes it. It is
// made of what the engine returns, and the same for every client of the engine.
package result

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"paligemma/internal/task"
	"paligemma/internal/units"
)

// Result is one object of JSON output; docs/json.md describes it. Fields that
// do not apply are left out.
type Result struct {
	Image        string        `json:"image,omitempty"`
	Images       []string      `json:"images,omitempty"` // generate --join
	Width        int           `json:"width,omitempty"`  // of the image, upright
	Height       int           `json:"height,omitempty"` // the same
	Line         int           `json:"line,omitempty"`   // of standard input (parse) or of the requests
	Task         string        `json:"task"`
	Model        string        `json:"model,omitempty"`
	LoRA         []string      `json:"lora,omitempty"` // adapters, as they were named
	Prompt       *string       `json:"prompt,omitempty"`
	Text         *string       `json:"text,omitempty"`
	Tokens       *[]int        `json:"tokens,omitempty"`
	Confidence   *float64      `json:"confidence,omitempty"`
	Objects      *[]task.Found `json:"objects,omitempty"`
	Boxes        *[]task.Box   `json:"boxes,omitempty"` // deprecated
	Masks        *[]task.Mask  `json:"masks,omitempty"` // deprecated
	Dropped      *[]task.Piece `json:"dropped,omitempty"`
	DroppedCount int           `json:"dropped_count,omitempty"` // where Dropped does not list all
	Drawing      string        `json:"drawing,omitempty"`       // the file that --draw made
	Scores       *[]Score      `json:"scores,omitempty"`
	Alternatives []Alternative `json:"alternatives,omitempty"`
	LogProbs     *[]LogProb    `json:"logprobs,omitempty"`
	FinishReason string        `json:"finish_reason,omitempty"`
	Timings      *Timings      `json:"timings,omitempty"`
	Warnings     []string      `json:"warnings,omitempty"` // about the image's file
	Error        string        `json:"error,omitempty"`
	ErrorCode    string        `json:"error_code,omitempty"`
}

// Timings are in milliseconds. Those of the model and the image are repeated in
// every result that shares them.
type Timings struct {
	Load          float64 `json:"load_ms"`
	Image         float64 `json:"image_ms"`   // read, decode, resize
	Vision        float64 `json:"vision_ms"`  // tower and projector
	Prefill       float64 `json:"prefill_ms"` // the prompt, up to the first token
	Decode        float64 `json:"decode_ms"`
	PrefillTokens int     `json:"prefill_tokens"`
	DecodeTokens  int     `json:"decode_tokens"`
}

// Milliseconds returns a duration in milliseconds, to the microsecond.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// String returns the line that --timings prints.
func (t Timings) String() string {
	rate := ""
	if t.Decode > 0 && t.DecodeTokens > 0 {
		rate = fmt.Sprintf(", %.1f/s", 1000*float64(t.DecodeTokens)/t.Decode)
	}
	return fmt.Sprintf("load %.0f ms, image %.0f ms, vision %.0f ms, prefill %.0f ms (%s), decode %.0f ms (%s%s)",
		t.Load, t.Image, t.Vision, t.Prefill, units.Count(t.PrefillTokens, "token", "tokens"), t.Decode, units.Count(t.DecodeTokens, "token", "tokens"), rate)
}

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

// Alternative is one of the texts of a beam search.
type Alternative struct {
	Text         string  `json:"text"`
	Tokens       []int   `json:"tokens"`
	Score        float64 `json:"score"` // mean log-probability, the end token counted
	FinishReason string  `json:"finish_reason"`
}

// LogProb is a token and the natural logarithm of its probability.
type LogProb struct {
	Token   int       `json:"token"`
	Text    string    `json:"text"`
	LogProb float64   `json:"logprob"`
	Top     []LogProb `json:"top,omitempty"` // the most likely tokens in its place, best first
	Bytes   []byte    `json:"-"`             // what it adds to a text; none: nothing
}

// Marshal returns JSON on one line, with < and > as they are.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
