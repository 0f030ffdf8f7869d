package scene

import (
	"math/rand/v2"
	"slices"
	"strings"

	"paligemma/internal/task"
)

// The tasks of samples.
const (
	TaskCaption = "caption"
	TaskVQA     = "vqa"
	TaskDetect  = "detect"
	TaskSegment = "segment"
	TaskOCR     = "ocr"
)

// Codes stands in the answer of a segment sample for the 16 <segNNN> tokens:
// whoever has the mask codec puts them there (see Object.Crop).
const Codes = "<codes>"

// Sample is a prompt and what the model is to answer.
type Sample struct {
	Task   string `json:"task"`
	Kind   string `json:"kind,omitempty"` // of a question, one of Kinds
	Lang   string `json:"lang,omitempty"` // of a caption
	Prompt string `json:"prompt"`
	Answer string `json:"answer"`

	Boxes  []LabelBox `json:"boxes,omitempty"` // detect and segment: what is to be found, in pixels
	Object int        `json:"object"`          // segment: index of the object; −1 if there is none to find
}

// Samples makes samples of all tasks and kinds for which the scene has matter:
// captions in each of Langs, one question of each of Kinds, one or two detect
// prompts, one segment prompt, and OCR.
//
// Where nothing that a detect or segment prompt names is in the picture, the
// answer is empty: the model ends at once. So it is with OCR where no sign is
// (asked in one such scene of eight); of several objects only those that are
// there are answered, from left to right, a sign at the end, whatever the
// prompt's order: a model of few layers learns that, but not which of the names
// found comes first.
func Samples(s *Scene, r *rand.Rand) []Sample {
	var out []Sample
	c := s.Caption()
	for _, lang := range Langs {
		out = append(out, Sample{Task: TaskCaption, Lang: lang, Prompt: "caption " + lang, Answer: c.Text(lang), Object: -1})
	}
	for _, kind := range Kinds {
		if q, a, ok := ask(s, r, kind); ok {
			out = append(out, Sample{Task: TaskVQA, Kind: kind, Prompt: q, Answer: a, Object: -1})
		}
	}
	out = append(out, s.detect(r))
	if r.IntN(2) == 0 {
		if d := s.detect(r); d.Prompt != out[len(out)-1].Prompt {
			out = append(out, d)
		}
	}
	if g, ok := s.segment(r); ok {
		out = append(out, g)
	}
	if s.Sign != nil {
		out = append(out, Sample{Task: TaskOCR, Prompt: task.OCR(), Answer: strings.Join(s.Sign.Words, " "), Object: -1})
	} else if r.IntN(8) == 0 {
		out = append(out, Sample{Task: TaskOCR, Prompt: task.OCR(), Object: -1})
	}
	return out
}

// named is a name that a prompt may use, "circle" or "red circle", and what it
// names.
type named struct {
	color, shape string // color may be ""
}

func (n named) String() string {
	if n.color == "" {
		return n.shape
	}
	return n.color + " " + n.shape
}

// find returns the objects of a name, from left to right.
func (s *Scene) find(n named) []int {
	var out []int
	for i, o := range s.Objects {
		if (n.color == "" || o.Color == n.color) && (n.shape == "" || o.Shape == n.shape) {
			out = append(out, i)
		}
	}
	return out
}

const sign = "sign"

// found is a box with the number of its object from left to right, or that of
// the objects for the sign.
type found struct {
	LabelBox
	place int
}

// boxes are what a name finds, from left to right, the sign included.
func (s *Scene) boxes(n named) []found {
	if n.shape == sign {
		if s.Sign == nil {
			return nil
		}
		return []found{{LabelBox{sign, floats(rect(s.Sign.Box))}, len(s.Objects)}}
	}
	var out []found
	for _, i := range s.find(n) {
		out = append(out, found{LabelBox{n.String(), floats(rect(s.Objects[i].Box))}, i})
	}
	return out
}

// present is the name of one of the objects.
func (s *Scene) present(r *rand.Rand) named {
	o := choice(r, s.Objects)
	if r.IntN(2) == 0 {
		return named{shape: o.Shape}
	}
	return named{o.Color, o.Shape}
}

// absent is a name that finds nothing; often something near: the wrong color,
// or a color and a shape that are there, but not together.
func (s *Scene) absent(r *rand.Rand) named {
	for {
		o := choice(r, s.Objects)
		n := named{choice(r, Colors), choice(r, Shapes)}
		switch r.IntN(4) {
		case 0:
			n.color = ""
		case 1:
			n.color = o.Color
		case 2:
			n.shape = o.Shape
		}
		if len(s.find(n)) == 0 {
			return n
		}
	}
}

// detect asks for one to three names, most of them there.
func (s *Scene) detect(r *rand.Rand) Sample {
	n := 1 + r.IntN(3)
	var names []named
	var prompt []string
	for len(names) < n {
		var name named
		switch x := r.Float64(); {
		case x < 0.65:
			name = s.present(r)
		case x < 0.93:
			name = s.absent(r)
		default:
			name = named{shape: sign}
		}
		// Neither twice the same nor "circle" together with "red circle".
		clash := slices.ContainsFunc(names, func(o named) bool { return o.shape == name.shape && (o.color == "" || name.color == "" || o == name) })
		if clash {
			n--
			continue
		}
		names = append(names, name)
		prompt = append(prompt, name.String())
	}
	d := Sample{Task: TaskDetect, Object: -1}
	var all []found
	for _, name := range names {
		all = append(all, s.boxes(name)...)
	}
	slices.SortFunc(all, func(a, b found) int { return a.place - b.place })
	var answer []string
	for _, b := range all {
		d.Boxes = append(d.Boxes, b.LabelBox)
		answer = append(answer, task.BoxTokens(b.Box, s.W, s.H)+" "+b.Label)
	}
	d.Prompt = task.Detect(strings.Join(prompt, " ; "))
	d.Answer = strings.Join(answer, " ; ")
	return d
}

// segment asks for one object that its name singles out, or now and then for
// one that is not there.
func (s *Scene) segment(r *rand.Rand) (Sample, bool) {
	if r.IntN(12) == 0 {
		return Sample{Task: TaskSegment, Prompt: task.Segment(s.absent(r).String()), Object: -1}, true
	}
	for range 20 {
		name := s.present(r)
		if b := s.boxes(name); len(b) == 1 {
			return Sample{
				Task: TaskSegment, Prompt: task.Segment(name.String()), Boxes: []LabelBox{b[0].LabelBox}, Object: b[0].place,
				Answer: task.BoxTokens(b[0].Box, s.W, s.H) + Codes + " " + name.String(),
			}, true
		}
	}
	return Sample{}, false
}
