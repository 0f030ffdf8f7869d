package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"paligemma/internal/task"
)

// Result is one object of JSON output; docs/json.md describes it. Fields that
// do not apply are left out.
type Result struct {
	Image        string        `json:"image,omitempty"`
	Images       []string      `json:"images,omitempty"` // generate --join
	Line         int           `json:"line,omitempty"`   // of standard input (parse) or of the requests
	Task         string        `json:"task"`
	Prompt       *string       `json:"prompt,omitempty"`
	Text         *string       `json:"text,omitempty"`
	Tokens       *[]int        `json:"tokens,omitempty"`
	Confidence   *float64      `json:"confidence,omitempty"`
	Boxes        *[]task.Box   `json:"boxes,omitempty"`
	Masks        *[]task.Mask  `json:"masks,omitempty"`
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

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// String is the line that --timings prints.
func (t Timings) String() string {
	rate := ""
	if t.Decode > 0 && t.DecodeTokens > 0 {
		rate = fmt.Sprintf(", %.1f/s", 1000*float64(t.DecodeTokens)/t.Decode)
	}
	return fmt.Sprintf("load %.0f ms, image %.0f ms, vision %.0f ms, prefill %.0f ms (%d tokens), decode %.0f ms (%d tokens%s)",
		t.Load, t.Image, t.Vision, t.Prefill, t.PrefillTokens, t.Decode, t.DecodeTokens, rate)
}

// printer writes results in the format asked for.
type printer struct {
	w      io.Writer
	format string
	many   bool // several results: a line each in text, an array in JSON
	paths  bool // of text: lines begin with the image's path
	n      int  // results so far
	open   bool // text: a line has been begun
}

func (a *app) newPrinter(many bool) *printer {
	return &printer{w: a.Out, format: a.common.Format, many: many}
}

// begin starts the text of a result, for streaming.
func (p *printer) begin(path string) error {
	p.open = true
	if !p.paths || path == "" {
		return nil
	}
	return p.write(escapePath.Replace(path) + "\t")
}

// part writes a piece of the text that was begun.
func (p *printer) part(text string) error {
	if p.many {
		text = escapeText.Replace(text)
	}
	return p.write(text)
}

// end ends the text that was begun, if there is one.
func (p *printer) end() error {
	if !p.open {
		return nil
	}
	p.open = false
	return p.write("\n")
}

func (p *printer) write(text string) error {
	_, err := io.WriteString(p.w, text)
	return err
}

// text writes a whole result as text.
func (p *printer) text(path, text string) error {
	if err := p.begin(path); err != nil {
		return err
	}
	if err := p.part(text); err != nil {
		return err
	}
	return p.end()
}

// scored writes a whole result as text, with a column before it.
func (p *printer) scored(path, score, text string) error {
	if err := p.begin(path); err != nil {
		return err
	}
	if err := p.write(score + "\t"); err != nil {
		return err
	}
	if err := p.part(text); err != nil {
		return err
	}
	return p.end()
}

// row writes a line of tab-separated fields, each escaped so that it is one.
func (p *printer) row(path string, fields ...string) error {
	if err := p.begin(path); err != nil {
		return err
	}
	for i, field := range fields {
		fields[i] = escapePath.Replace(field)
	}
	if err := p.write(strings.Join(fields, "\t")); err != nil {
		return err
	}
	return p.end()
}

// object writes a result as JSON.
func (p *printer) object(v any) error {
	data, err := marshal(v)
	if err != nil {
		return err
	}
	text := string(data)
	if p.format == formatJSON && p.many {
		if p.n == 0 {
			text = "[\n" + text
		} else {
			text = ",\n" + text
		}
	} else {
		text += "\n"
	}
	p.n++
	return p.write(text)
}

// close ends the array. It is called after errors too, so that what was
// written is JSON.
func (p *printer) close() error {
	if err := p.end(); err != nil {
		return err
	}
	if p.format != formatJSON || !p.many {
		return nil
	}
	if p.n == 0 {
		return p.write("[]\n")
	}
	return p.write("\n]\n")
}

// marshal is JSON on one line, with < and > as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
