package cli

import (
	"fmt"
	"math"
	"strings"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/task"
	"paligemma/internal/tokenizer"
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

// ms returns a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

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

func newScore(s engine.Score) Score {
	return Score{
		Suffix: s.Text, Tokens: s.IDs, LogProbs: s.LogProbs,
		Sum: s.Sum, Mean: s.Mean, Loss: -s.Mean,
		Perplexity: min(math.Exp(-s.Mean), math.MaxFloat64), // JSON has no infinity
	}
}

// Alternative is one of the texts of a beam search.
type Alternative struct {
	Text         string  `json:"text"`
	Tokens       []int   `json:"tokens"`
	Score        float64 `json:"score"` // mean log-probability, the end token counted
	FinishReason string  `json:"finish_reason"`
}

// newAlternatives describes the best n beams.
func newAlternatives(tok *tokenizer.Tokenizer, beams []model.Beam, n int) []Alternative {
	out := []Alternative{}
	for _, b := range beams[:min(n, len(beams))] {
		reason := model.FinishLength
		if b.Stop {
			reason = model.FinishStop
		}
		out = append(out, Alternative{tok.Decode(b.Tokens), append([]int{}, b.Tokens...), b.Score, reason})
	}
	return out
}

// LogProb is a token and the natural logarithm of its probability.
type LogProb struct {
	Token   int       `json:"token"`
	Text    string    `json:"text"`
	LogProb float64   `json:"logprob"`
	Top     []LogProb `json:"top,omitempty"` // the most likely tokens in its place, best first
}

// newLogProbs describes the tokens of a generation.
func newLogProbs(tok *tokenizer.Tokenizer, steps []model.StepLogProbs) []LogProb {
	describe := func(t model.TokenLogProb) LogProb {
		return LogProb{Token: t.ID, Text: tokenText(tok, t.ID), LogProb: t.LogProb}
	}
	out := make([]LogProb, len(steps))
	for i, step := range steps {
		out[i] = describe(step.TokenLogProb)
		for _, t := range step.Top {
			out[i].Top = append(out[i].Top, describe(t))
		}
	}
	return out
}

// tokenText returns the text of a single token, or the vocabulary's spelling of
// one that has no text by itself (the end token, a byte of a longer character).
func tokenText(tok *tokenizer.Tokenizer, id int) string {
	text := tok.Decode([]int{id})
	if text == "" || strings.Contains(text, "\uFFFD") {
		return tok.Piece(id)
	}
	return text
}

// named puts an image's path before its warnings where there are several images.
func named(path string, several bool, warnings []string) []string {
	if !several {
		return warnings
	}
	var out []string
	for _, w := range warnings {
		out = append(out, path+": "+w)
	}
	return out
}
