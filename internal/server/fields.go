package server

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"paligemma/internal/ask"
	"paligemma/internal/nearest"
	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// Limits of what a request of a task may say, pictures left out.
const (
	maxText = 1 << 20 // bytes of a text
	maxList = 1000    // texts of a list
)

// taskRequest is a request of a task, whatever form it came in.
type taskRequest struct {
	images   []string  // as JSON and forms name them: base64, data: URIs, addresses
	pictures []picture // files of a form, or the body itself

	prompt   *string // nil: there is none
	objects  []string
	lang     string
	style    string
	box      *[4]float64
	choices  []string
	suffixes []string
	text     *string
	size     string
	model    string
	lora     []string
	stream   bool
	writing  ask.Writing
	seed     *uint64

	given []string // the fields that the request has
}

// has reports whether the request has a field.
func (in *taskRequest) has(name string) bool { return slices.Contains(in.given, name) }

// field is where the value of a field goes, in either form.
type field struct {
	json  reader
	form  func(value string) error
	again bool // a form may have it more than once
}

// fields returns the fields that a request of any task may have.
func (in *taskRequest) fields() map[string]field {
	w := &in.writing
	return map[string]field{
		"image":        in.imageField(),
		"images":       listField(&in.images, anyLength, ""),
		"prompt":       optionalField(&in.prompt),
		"objects":      listField(&in.objects, maxText, ";"),
		"lang":         textField(&in.lang),
		"style":        textField(&in.style),
		"box":          in.boxField(),
		"choices":      listField(&in.choices, maxText, ","),
		"suffixes":     listField(&in.suffixes, maxText, ""),
		"text":         optionalField(&in.text),
		"size":         textField(&in.size),
		"model":        textField(&in.model),
		"lora":         listField(&in.lora, maxText, ""),
		"stream":       boolField(&in.stream),
		"max_tokens":   intField(&w.MaxTokens),
		"temperature":  floatField(&w.Sampling.Temperature),
		"top_k":        intField(&w.Sampling.TopK),
		"top_p":        floatField(&w.Sampling.TopP),
		"seed":         in.seedField(),
		"beams":        intField(&w.Beams),
		"num_return":   intField(&w.NumReturn),
		"logprobs":     intField(&w.LogProbs),
		"stop_repeats": boolField(&w.StopRepeats),
	}
}

// checkText makes sure that a text of a form or a query can be one of JSON.
func checkText(s string, most int) error {
	if !utf8.ValidString(s) {
		return errors.New("not valid utf-8")
	}
	return checkLength(s, most)
}

// imageField is a picture, of which forms may have several.
func (in *taskRequest) imageField() field {
	add := func(s string) error { in.images = append(in.images, s); return nil }
	return field{again: true, json: textInto(anyLength, add), form: add}
}

func textField(to *string) field {
	set := func(s string) error { *to = s; return nil }
	return field{json: textInto(maxText, set), form: set}
}

// optionalField is a text that differs from "" where it is missing.
func optionalField(to **string) field {
	set := func(s string) error { *to = &s; return nil }
	return field{json: textInto(maxText, set), form: set}
}

// listField is a list of texts of at most most bytes. One text may stand for a list of
// one or, where there is a separator, of what it separates.
func listField(to *[]string, most int, separator string) field {
	one := func(s string) error {
		if *to = append(*to, s); len(*to) > maxList {
			return fmt.Errorf("more than %d in a list", maxList)
		}
		return nil
	}
	add := func(s string) error {
		if separator == "" {
			return one(s)
		}
		for part := range strings.SplitSeq(s, separator) {
			if err := one(strings.TrimSpace(part)); err != nil {
				return err
			}
		}
		return nil
	}
	return field{again: true, json: listInto(most, add, one), form: add}
}

func intField(to *int) field {
	return field{
		json: intInto(to, math.MinInt32, math.MaxInt32),
		form: func(s string) error {
			n, err := strconv.ParseInt(s, 10, 32)
			if *to = int(n); err != nil {
				return fmt.Errorf("%s where an integer is wanted", quote.Short(s))
			}
			return nil
		},
	}
}

func floatField(to *float64) field {
	return field{
		json: floatInto(to),
		form: func(s string) (err error) {
			if *to, err = strconv.ParseFloat(s, 64); err != nil {
				return fmt.Errorf("%s where a number is wanted", quote.Short(s))
			}
			return nil
		},
	}
}

func boolField(to *bool) field {
	return field{
		json: boolInto(to),
		form: func(s string) (err error) {
			if *to, err = strconv.ParseBool(s); err != nil {
				return fmt.Errorf("%s where true or false is wanted", quote.Short(s))
			}
			return nil
		},
	}
}

func (in *taskRequest) seedField() field {
	parse := func(s string) error {
		n, err := strconv.ParseUint(s, 10, 64)
		if in.seed = &n; err != nil {
			return fmt.Errorf("%s where an integer from 0 to %d is wanted", quote.Short(s), uint64(math.MaxUint64))
		}
		return nil
	}
	return field{form: parse, json: func(in *strictjson.Reader) error {
		n, err := in.Number()
		if err != nil {
			return err
		}
		return parse(string(n))
	}}
}

func (in *taskRequest) boxField() field {
	return field{json: boxInto(&in.box), form: func(s string) error { return parseBox(s, &in.box) }}
}

// taskReader reads the fields of a request of a task, in any form.
type taskReader struct {
	endpoint *endpoint
	in       *taskRequest
	fields   map[string]field
}

func newTaskReader(e *endpoint) *taskReader {
	in := &taskRequest{writing: ask.Writing{Beams: 1, NumReturn: 1}}
	in.writing.Sampling.TopP = 1
	return &taskReader{e, in, in.fields()}
}

// find returns the field of a name, and notes that the request has it.
func (t *taskReader) find(name string) (field, error) {
	if !slices.Contains(t.endpoint.fields, name) {
		return field{}, t.unknown(name)
	}
	f := t.fields[name]
	if t.in.has(name) {
		if !f.again {
			return f, invalid(name, name+" is there twice")
		}
		return f, nil
	}
	t.in.given = append(t.in.given, name)
	return f, nil
}

// unknown is the error of a field that the task does not have.
func (t *taskReader) unknown(name string) error {
	like := nearest.DidYouMean(nearest.Word(name, t.endpoint.fields))
	return invalid(quote.Line(name, quote.Max), fmt.Sprintf("%s has no field %s%s", t.endpoint.name, quote.Short(name), like))
}

// form reads the value of a field of a form or a query.
func (t *taskReader) form(name, value string) error {
	f, err := t.find(name)
	if err != nil {
		return err
	}
	if err := checkText(value, maxFormText(name)); err != nil {
		return invalid(name, name+": "+err.Error())
	}
	if err := f.form(value); err != nil {
		return invalid(name, name+": "+err.Error())
	}
	return nil
}

// maxFormText returns how many bytes a field of a form may have: pictures are bounded
// elsewhere.
func maxFormText(name string) int {
	if name == "image" || name == "images" {
		return anyLength
	}
	return maxText
}

// object reads a request in JSON.
func (t *taskReader) object(text string) error {
	known := params{}
	for _, name := range t.endpoint.fields {
		known[name] = func(in *strictjson.Reader) error {
			f, err := t.find(name)
			if err != nil {
				return err
			}
			return f.json(in)
		}
	}
	return readParams(text, known, func(name string, _ any) error { return t.unknown(name) })
}
