package main

import (
	"fmt"
	"math"
	"strings"
)

// verdict is how a finding stands to its aim.
type verdict string

const (
	met     verdict = "ok"
	missed  verdict = "MISSED"
	shown   verdict = "" // no aim, or one for another card
	leftOut verdict = "left out"
)

// finding is something that was checked, or should have been.
type finding struct {
	Part    string  `json:"part"`
	What    string  `json:"what"`
	Got     string  `json:"got,omitempty"`
	Aim     string  `json:"aim,omitempty"`
	Verdict verdict `json:"verdict,omitempty"`
	Why     string  `json:"why,omitempty"` // of what was missed or left out
}

// judged returns the finding with its verdict, which is none where the aim is for something
// else than what is at hand.
func (f finding) judged(ok bool, elsewhere string) finding {
	switch {
	case elsewhere != "":
		f.Verdict, f.Why = shown, "the aim is for "+elsewhere
	case ok:
		f.Verdict = met
	default:
		f.Verdict = missed
	}
	return f
}

// speed is a line of the table of speeds; what was not measured is 0.
type speed struct {
	Model   string  `json:"model"`
	Program string  `json:"program"`
	Vision  float64 `json:"vision_ms,omitempty"`
	Prefill float64 `json:"prefill_ms,omitempty"`
	Decode  float64 `json:"decode_tok_s,omitempty"`
	Batch   float64 `json:"sequences_64_tok_s,omitempty"`
	Open    float64 `json:"open_ms,omitempty"` // of weights in memory
}

// report is all that was found.
type report struct {
	Date     string    `json:"date"`
	Version  string    `json:"version"`
	Device   string    `json:"device"`
	GPU      string    `json:"gpu,omitempty"`
	Driver   string    `json:"driver,omitempty"`
	Minutes  float64   `json:"minutes"` // the limit
	Seconds  float64   `json:"seconds"` // used
	Speeds   []speed   `json:"speeds"`
	Findings []finding `json:"findings"`
	Steps    []timing  `json:"steps"`
	Running  string    `json:"running,omitempty"` // the step that was begun last, while it lasts
}

// timing is how long a step took.
type timing struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
}

func (r *report) missed() bool {
	for _, f := range r.Findings {
		if f.Verdict == missed {
			return true
		}
	}
	return false
}

// speedOf returns the line of a model and program, nil if it was not measured.
func (r *report) speedOf(model, program string) *speed {
	for i, s := range r.Speeds {
		if s.Model == model && s.Program == program {
			return &r.Speeds[i]
		}
	}
	return nil
}

// markdown formats the report as two tables.
func (r *report) markdown() string {
	var b strings.Builder
	card := "no GPU"
	if r.GPU != "" {
		card = r.GPU
	}
	if r.Driver != "" {
		card += ", driver " + r.Driver
	}
	fmt.Fprintf(&b, "# GPU check\n\n%s on `%s` (%s), %s; %.1f of %g minutes.\n", r.Version, r.Device, card, r.Date, r.Seconds/60, r.Minutes)
	if r.Running != "" {
		fmt.Fprintf(&b, "\nNot at its end; this was being done: %s.\n", r.Running)
	}
	if len(r.Speeds) > 0 {
		b.WriteString("\n| model | program | vision, ms | prefill, ms | decode, tokens/s | 64 sequences, tokens/s | opening, ms |\n|---|---|---|---|---|---|---|\n")
		for _, s := range r.Speeds {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", s.Model, s.Program, number(s.Vision), number(s.Prefill), number(s.Decode), number(s.Batch), number(s.Open))
		}
	}
	b.WriteString("\n| part | what | measured | aim | |\n|---|---|---|---|---|\n")
	for _, f := range r.Findings {
		end := string(f.Verdict)
		if f.Why != "" {
			end = strings.TrimPrefix(end+": "+cell(f.Why), ": ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", f.Part, cell(f.What), cell(f.Got), cell(f.Aim), end)
	}
	return b.String()
}

// cell keeps text from ending a cell of a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}

// number formats three significant digits, more before the point; a dash for 0.
func number(v float64) string {
	if v <= 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.*f", max(0, 2-int(math.Floor(math.Log10(v)))), v)
}
