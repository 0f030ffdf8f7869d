package bench

import (
	"slices"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// Run is what one repetition took, or the medians of several.
type Run struct {
	Open          float64 `json:"open_ms"`        // until the vision tower can start: file, engine, weights
	Tokenizer     float64 `json:"tokenizer_ms"`   // to load it with nothing else going on
	Image         float64 `json:"image_ms"`       // decode and resize
	Vision        float64 `json:"vision_ms"`      // tower and projector
	Prefill       float64 `json:"prefill_ms"`     // Report.PrefillTokens, up to the first logits
	DecodeRate    float64 `json:"decode_tok_s"`   // tokens a second after the first
	FirstToken    float64 `json:"first_token_ms"` // of a caption, from before opening the model
	Caption20     float64 `json:"caption20_ms"`   // the same, to its 20th token
	VisionGFLOPS  float64 `json:"vision_gflops"`  // the arithmetic asked for (see work) over vision_ms
	PrefillGFLOPS float64 `json:"prefill_gflops"` // the same over prefill_ms
	DecodeGBs     float64 `json:"decode_gb_s"`    // what a step has to read (see work) times decode_tok_s
	Sequences     []Batch `json:"sequences,omitempty"`
}

// Report is the result of Measure.
type Report struct {
	Model         string   `json:"model"`          // path, or name of the synthetic model
	LoRA          []string `json:"lora,omitempty"` // adapters, as they were named
	Synthetic     bool     `json:"synthetic"`
	Type          string   `json:"type"`
	Parameters    int64    `json:"parameters"` // padding not counted
	Bytes         int64    `json:"file_bytes"` // of the file, or of what stands for it in memory
	Device        string   `json:"device"`
	CPU           string   `json:"cpu"`
	Threads       int      `json:"threads"`
	Repetitions   int      `json:"repetitions"`
	PrefillTokens int      `json:"prefill_tokens"` // image tokens included
	DecodeTokens  int      `json:"decode_tokens"`
	Graphs        Graphs   `json:"graphs"` // of the last repetition
	Run                    // medians
	PeakRSS       int64    `json:"peak_rss_bytes,omitempty"` // of the process after the last repetition; 0: unknown
	LoadAverage   float64  `json:"load_average,omitempty"`   // of the last minute before the first repetition; 0: unknown
	*Probe                 // nil: not measured
	Runs          []Run    `json:"runs"`

	Warnings []string `json:"warnings,omitempty"` // about the picture
}

// Graphs counts the graphs of each part.
type Graphs struct {
	Encode  ggml.Counts `json:"encode"` // vision tower and projector
	Prefill ggml.Counts `json:"prefill"`
	Decode  ggml.Counts `json:"decode"`
}

// fields are the numbers of a Run, except those of its batches, for what is done
// to each of them.
var fields = []func(*Run) *float64{
	func(r *Run) *float64 { return &r.Open },
	func(r *Run) *float64 { return &r.Tokenizer },
	func(r *Run) *float64 { return &r.Image },
	func(r *Run) *float64 { return &r.Vision },
	func(r *Run) *float64 { return &r.Prefill },
	func(r *Run) *float64 { return &r.DecodeRate },
	func(r *Run) *float64 { return &r.FirstToken },
	func(r *Run) *float64 { return &r.Caption20 },
	func(r *Run) *float64 { return &r.VisionGFLOPS },
	func(r *Run) *float64 { return &r.PrefillGFLOPS },
	func(r *Run) *float64 { return &r.DecodeGBs },
}

// fields returns all numbers of the report's runs.
func (r *Report) fields() []func(*Run) *float64 {
	all := slices.Clone(fields)
	for i := range r.batches() {
		all = append(all,
			func(r *Run) *float64 { return &r.Sequences[i].Step },
			func(r *Run) *float64 { return &r.Sequences[i].Rate })
	}
	return all
}

// batches returns a copy of the first run's batches: those of the others have
// the same numbers of sequences.
func (r *Report) batches() []Batch { return slices.Clone(r.Runs[0].Sequences) }

// Spread is the smallest and the largest value of each field.
func (r *Report) Spread() (low, high Run) {
	low.Sequences, high.Sequences = r.batches(), r.batches()
	for _, field := range r.fields() {
		values := r.values(field)
		*field(&low), *field(&high) = values[0], values[len(values)-1]
	}
	return low, high
}

// Runs of a quiet machine differ by less than unsteady, of the median. What takes less
// than a few milliseconds differs more on any.
const (
	unsteady   = 0.3
	unsteadyMS = 20.0
)

// Unsteady returns the largest difference between runs as a part of the median, if it
// is more than a quiet machine shows; else 0.
func (r *Report) Unsteady() float64 {
	low, high := r.Spread()
	worst := 0.0
	for _, part := range []struct{ took, mid, low, high float64 }{
		{r.Vision, r.Vision, low.Vision, high.Vision},
		{r.Prefill, r.Prefill, low.Prefill, high.Prefill},
		{r.Caption20, r.Caption20, low.Caption20, high.Caption20},
		{1000 * float64(r.DecodeTokens) / max(r.DecodeRate, 1e-9), r.DecodeRate, low.DecodeRate, high.DecodeRate},
	} {
		if part.took >= unsteadyMS {
			worst = max(worst, (part.high-part.low)/part.mid)
		}
	}
	if worst < unsteady {
		return 0
	}
	return worst
}

// summarize sets the medians.
func (r *Report) summarize() {
	r.Run.Sequences = r.batches()
	for _, field := range r.fields() {
		values := r.values(field)
		n := len(values)
		*field(&r.Run) = (values[(n-1)/2] + values[n/2]) / 2
	}
}

// values are those of a field in all runs, ascending.
func (r *Report) values(field func(*Run) *float64) []float64 {
	var values []float64
	for i := range r.Runs {
		values = append(values, *field(&r.Runs[i]))
	}
	slices.Sort(values)
	return values
}

// describe fills in what does not depend on the repetition.
func (r *Report) describe(e *engine.Engine) {
	r.Model = e.Path()
	r.Type = typeName(e.File())
	r.Parameters = parameters(e.Config())
	r.Bytes = int64(len(e.File().Bytes()))
	r.Device = ggml.Names(e.Devices())
	r.Threads, _ = e.Threads()
	r.CPU = ggml.CPU().Description
}

// typeName is the output type that a file was converted to; for a file that
// does not say, or says a type unknown here, the type of most of its bytes.
func typeName(f *gguf.File) string {
	if name := convert.TypeOf(f.Header); name != "" {
		return name
	}
	bytes := map[gguf.Type]int64{}
	var most gguf.Type
	for _, t := range f.Tensors {
		bytes[t.Type] += t.Size
		if bytes[t.Type] > bytes[most] {
			most = t.Type
		}
	}
	return most.String()
}

// parameters is the number of weights.
func parameters(c model.Config) int64 {
	var all int64
	for _, t := range c.Tensors() {
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		all += n
	}
	return all
}
