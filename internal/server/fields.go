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
	"paligemma/internal/task"
	"paligemma/internal/units"
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
	json  func(r *strictjson.Reader) error
	form  func(value string) error
	again bool // a form may have it more than once
}

// fields returns the fields that a request of any task may have.
func (in *taskRequest) fields() map[string]field {
	w := &in.writing
	return map[string]field{
		"image":        in.imageField(),
		"images":       listField(&in.images, math.MaxInt, ""),
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
	switch {
	case len(s) > most:
		return fmt.Errorf("a text is longer than %s bytes", units.Number(most))
	case !utf8.ValidString(s):
		return errors.New("not valid utf-8")
	}
	return nil
}

// readText reads a string of JSON of at most most bytes. A short one is a copy, so that
// it does not keep the body, which may hold pictures.
func readText(r *strictjson.Reader, most int) (string, error) {
	s, err := r.String()
	if err == nil {
		err = checkText(s, most)
	}
	if err == nil && len(s) <= maxText {
		s = strings.Clone(s)
	}
	return s, err
}

// textInto reads a string of JSON.
func textInto(to func(string), most int) func(*strictjson.Reader) error {
	return func(r *strictjson.Reader) error {
		s, err := readText(r, most)
		to(s)
		return err
	}
}

// imageField is a picture, of which forms may have several.
func (in *taskRequest) imageField() field {
	add := func(s string) { in.images = append(in.images, s) }
	return field{again: true, json: textInto(add, math.MaxInt), form: func(s string) error { add(s); return nil }}
}

func textField(to *string) field {
	return field{
		json: textInto(func(s string) { *to = s }, maxText),
		form: func(s string) error { *to = s; return nil },
	}
}

// optionalField is a text that differs from "" where it is missing.
func optionalField(to **string) field {
	return field{
		json: textInto(func(s string) { *to = &s }, maxText),
		form: func(s string) error { *to = &s; return nil },
	}
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
	return field{again: true, form: add, json: func(r *strictjson.Reader) error {
		if r.Kind() == strictjson.String {
			s, err := readText(r, most)
			if err != nil {
				return err
			}
			return add(s)
		}
		return r.List(func() error {
			s, err := readText(r, most)
			if err != nil {
				return err
			}
			return one(s)
		})
	}}
}

func intField(to *int) field {
	return field{
		json: func(r *strictjson.Reader) error {
			n, err := r.Int(math.MinInt32, math.MaxInt32)
			*to = int(n)
			return err
		},
		form: func(s string) error {
			n, err := strconv.ParseInt(s, 10, 32)
			if *to = int(n); err != nil {
				return fmt.Errorf("%s where an integer is wanted", quote.Short(s))
			}
			return nil
		},
	}
}

// numberField is a number, whose text is parsed.
func numberField(parse func(text string) error) field {
	return field{form: parse, json: func(r *strictjson.Reader) error {
		n, err := r.Number()
		if err != nil {
			return err
		}
		return parse(string(n))
	}}
}

func floatField(to *float64) field {
	parse := func(s string) (err error) {
		if *to, err = strconv.ParseFloat(s, 64); err != nil {
			return fmt.Errorf("%s where a number is wanted", quote.Short(s))
		}
		return nil
	}
	return numberField(parse)
}

func boolField(to *bool) field {
	return field{
		json: func(r *strictjson.Reader) (err error) { *to, err = r.Bool(); return err },
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
	return numberField(parse)
}

// boxField is a list of four numbers, or the text that the flag takes.
func (in *taskRequest) boxField() field {
	parse := func(s string) error {
		box, err := task.ParseBox(s)
		in.box = &box
		return err
	}
	return field{form: parse, json: func(r *strictjson.Reader) error {
		if r.Kind() == strictjson.String {
			s, err := readText(r, maxText)
			if err != nil {
				return err
			}
			return parse(s)
		}
		var numbers []string
		err := r.List(func() error {
			n, err := r.Number()
			if numbers = append(numbers, string(n)); err == nil && len(numbers) > 4 {
				err = errors.New("more than 4 numbers in a box")
			}
			return err
		})
		if err != nil {
			return err
		}
		return parse(strings.Join(numbers, ","))
	}}
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
		like := nearest.DidYouMean(nearest.Word(name, t.endpoint.fields))
		return field{}, invalid(quote.Line(name, quote.Max), fmt.Sprintf("%s has no field %s%s", t.endpoint.name, quote.Short(name), like))
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
		return math.MaxInt
	}
	return maxText
}

// object reads a request in JSON. null is a field that is missing.
func (t *taskReader) object(text string) error {
	r, err := strictjson.NewReader(text)
	if err != nil {
		return invalid("", "the body: "+quote.Error(err).Error())
	}
	err = r.Object(func(name string) error {
		f, err := t.find(name)
		if err != nil {
			return err
		}
		if null, err := r.Null(); null || err != nil {
			t.in.given = slices.DeleteFunc(t.in.given, func(s string) bool { return s == name })
			return err
		}
		if err := f.json(r); err != nil {
			return invalid(name, name+": "+quote.Error(err).Error())
		}
		return nil
	})
	if err == nil {
		err = r.End()
	}
	var known *apiError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return invalid("", `the body: `+quote.Error(err).Error()+` (want JSON: {"image": …})`)
}
