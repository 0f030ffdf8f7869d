package cli

import (
	"fmt"
	"strings"
	"time"

	"paligemma/internal/batch"
	"paligemma/internal/result"
	"paligemma/internal/units"
)

// Times between two reports of a batch: on a terminal, as JSON, and as lines of a log.
const (
	everyBar  = 200 * time.Millisecond
	everyJSON = time.Second
	everyLine = 30 * time.Second
)

// batchReport shows how far a batch has come, every so often.
type batchReport struct {
	app   *app
	start time.Time
	last  time.Time
	open  bool // a line on the terminal is unfinished
}

func (a *app) newBatchReport() *batchReport {
	return &batchReport{app: a, start: time.Now(), last: time.Now()}
}

// shown reports whether anything is shown before the end.
func (r *batchReport) shown() bool { return r.json() || !r.app.common.Quiet }

func (r *batchReport) json() bool { return r.app.common.Progress == progressJSON }

// every returns the time between two reports.
func (r *batchReport) every() time.Duration {
	switch {
	case r.json():
		return everyJSON
	case r.app.showsBars(true):
		return everyBar
	}
	return everyLine
}

// show shows the numbers, if it is time.
func (r *batchReport) show(p batch.Progress) {
	if time.Since(r.last) < r.every() {
		return
	}
	r.last = time.Now()
	numbers := newBatchNumbers(p, time.Since(r.start))
	switch {
	case r.json():
		r.object(numbers)
	case r.app.showsBars(true):
		r.open = true
		fmt.Fprintf(r.app.bars, "\r\x1b[K%s", numbers.line())
	case r.app.common.Progress != progressNever:
		r.app.note("%s", numbers.line())
	}
}

// close shows the numbers at the end.
func (r *batchReport) close(p batch.Progress) {
	if r.open {
		fmt.Fprint(r.app.bars, "\r\x1b[K")
	}
	numbers := newBatchNumbers(p, time.Since(r.start))
	numbers.Ended, numbers.Left = true, nil
	switch {
	case r.json():
		r.object(numbers)
	case p.Done > 0:
		r.app.note("records: %s", numbers.line())
	}
}

// object shows the numbers as a line of JSON.
func (r *batchReport) object(numbers batchNumbers) {
	if line, err := result.Marshal(numbers); err == nil {
		r.app.print(r.app.Err, string(line))
	}
}

// batchNumbers are what --progress json says; docs/batch.md describes it.
type batchNumbers struct {
	Done    int64    `json:"done"`
	Failed  int64    `json:"failed"`
	Total   int64    `json:"total,omitempty"`
	Seconds float64  `json:"seconds"`
	Rate    float64  `json:"records_per_second"`
	Left    *float64 `json:"seconds_left,omitempty"`
	Ended   bool     `json:"ended"`

	answered int64
}

func newBatchNumbers(p batch.Progress, took time.Duration) batchNumbers {
	n := batchNumbers{Done: p.Done, Failed: p.Failed, Total: p.Total, Seconds: took.Seconds(), answered: p.Answered}
	n.Rate = float64(p.Answered) / max(n.Seconds, 1e-3)
	if p.Total > 0 && p.Answered > 0 {
		left := float64(max(0, p.Total-p.Done)) / n.Rate
		n.Left = &left
	}
	return n
}

// line returns the numbers as a line.
func (n *batchNumbers) line() string {
	done := units.Number(n.Done) + " done"
	if n.Total > n.Done {
		done = fmt.Sprintf("%s of %s done", units.Number(n.Done), units.Number(n.Total))
	}
	parts := []string{done}
	if n.Failed > 0 {
		parts = append(parts, units.Number(n.Failed)+" failed")
	}
	if n.answered == 0 {
		parts = append(parts, "by an earlier run")
	} else {
		parts = append(parts, fmt.Sprintf("%.1f/s", n.Rate))
	}
	if n.Left != nil && *n.Left > 0 {
		left := time.Duration(*n.Left * float64(time.Second))
		parts = append(parts, left.Round(time.Second).String()+" left")
	}
	return strings.Join(parts, ", ")
}
