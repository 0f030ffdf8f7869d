package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/result"
	"paligemma/internal/strictjson"
	"paligemma/internal/task"
)

// maxLine bounds a line of JSON, in bytes: one may hold images in base64.
const maxLine = 256 << 20

// lineShard is that of a file of JSON Lines.
func (o *Options) lineShard(path string) Shard {
	return Shard{Path: path, read: func(r *reading) {
		o.eachLine(r, path, '\n', maxLine, func(line []byte, number int64, err error) bool {
			if err == nil && len(bytes.TrimSpace(line)) == 0 {
				return true
			}
			rec := Record{Err: err}
			if err == nil {
				rec = o.parseLine(path, line)
			}
			if rec.Line = number; rec.ID == "" {
				rec.ID = lineID(path, number)
			}
			return r.yield(rec)
		})
	}}
}

// parseLine reads a record from a line. The id is "" where the line has none.
func (o *Options) parseLine(file string, line []byte) Record {
	f := fields{}
	err := f.parse(string(line))
	rec := Record{ID: f.id, Prompt: f.prompt, Choices: f.choices, Box: f.box, MaxTokens: f.maxTokens, Chat: f.chat, Input: f.object()}
	if err == nil && f.image != nil && len(f.images) > 0 {
		err = errors.New(`"image" and "images" exclude each other`)
	}
	if err != nil {
		rec.Err = result.RequestError{Err: err}
		return rec
	}
	if f.image != nil {
		f.images = []string{*f.image}
	}
	for _, name := range f.images {
		rec.Images = append(rec.Images, o.namedImage(file, name))
	}
	return rec
}

// fields are what a JSON object says of a record.
type fields struct {
	id        string
	image     *string
	images    []string
	prompt    *string
	choices   []string
	box       *[4]float64
	maxTokens int
	chat      bool         // of OpenAI's batch format
	carried   []string     // keys of unknown fields
	input     bytes.Buffer // these, members of an object with commas between them
}

// parse reads an object. What it has read stays where there is an error.
func (f *fields) parse(text string) error {
	in, err := strictjson.NewReader(text)
	if err == nil {
		readers := f.readers(in)
		err = in.Object(func(key string) error {
			if read, ok := readers[key]; ok {
				return readField(in, key, read)
			}
			return f.carry(in, key)
		})
	}
	if err == nil && in.End() != nil {
		return errors.New("want one JSON object a line")
	}
	if err != nil {
		return fmt.Errorf(`want {"image": PATH, "prompt": TEXT}: %w`, quote.Error(err))
	}
	return nil
}

// readField reads the value of a field. null is a field that is missing.
func readField(in *strictjson.Reader, key string, read func() error) error {
	if null, err := in.Null(); null || err != nil {
		return err
	}
	if err := read(); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// readers returns what reads the values of the fields that mean something.
func (f *fields) readers(in *strictjson.Reader) map[string]func() error {
	text := func(to **string) func() error {
		return func() error {
			s, err := in.String()
			*to = &s
			return err
		}
	}
	texts := func(to *[]string) func() error {
		return func() error {
			return in.List(func() error {
				s, err := in.String()
				*to = append(*to, s)
				return err
			})
		}
	}
	id := func() (err error) { f.id, err = idText(in); return err }
	return map[string]func() error{
		"id": id, "custom_id": id,
		"image": text(&f.image), "images": texts(&f.images),
		"prompt": text(&f.prompt), "prefix": text(&f.prompt),
		"choices": texts(&f.choices),
		"box":     func() (err error) { f.box, err = readBox(in); return err },
		"body":    func() error { return f.body(in) },
		"method":  in.Skip, "url": in.Skip,
	}
}

// idText reads an id: a text, or a number as it is written.
func idText(in *strictjson.Reader) (string, error) {
	if in.Kind() == strictjson.Number {
		n, err := in.Number()
		return n.String(), err
	}
	return in.String()
}

// readBox reads [x0, y0, x1, y1].
func readBox(in *strictjson.Reader) (*[4]float64, error) {
	var values []float64
	err := in.List(func() error {
		n, err := in.Number()
		if err != nil {
			return err
		}
		v, err := n.Float64()
		values = append(values, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(values) != 4 {
		return nil, errors.New("want [x0, y0, x1, y1] in pixels")
	}
	box := (*[4]float64)(values)
	if err := task.CheckBox(*box); err != nil {
		return nil, err
	}
	return box, nil
}

// carry keeps a field that means nothing here.
func (f *fields) carry(in *strictjson.Reader, key string) error {
	raw, err := in.Raw()
	if err != nil {
		return err
	}
	f.add(key, raw)
	return nil
}

// add adds a member to those that are carried, unless there is one of its name.
func (f *fields) add(key string, value []byte) {
	if slices.Contains(f.carried, key) {
		return
	}
	f.carried = append(f.carried, key)
	if f.input.Len() > 0 {
		f.input.WriteByte(',')
	}
	name, _ := json.Marshal(key)
	f.input.Write(name)
	f.input.WriteByte(':')
	f.input.Write(value)
}

// object returns the members that are carried; nil: there are none.
func (f *fields) object() json.RawMessage {
	if f.input.Len() == 0 {
		return nil
	}
	return json.RawMessage("{" + f.input.String() + "}")
}

// body reads the body of a request in OpenAI's batch format, of which the messages
// and the number of tokens count.
func (f *fields) body(in *strictjson.Reader) error {
	f.chat = true
	var parts []string
	tokens := func() error {
		n, err := in.Int(1, math.MaxInt32)
		f.maxTokens = int(n)
		return err
	}
	err := in.Fields(map[string]any{
		"messages":              func() error { return in.List(func() error { return f.message(in, &parts) }) },
		"max_tokens":            tokens,
		"max_completion_tokens": tokens,
	})
	prompt := strings.Join(parts, "\n")
	f.prompt = &prompt
	return err
}

// message reads a message of a chat. Its texts are parts of the prompt.
func (f *fields) message(in *strictjson.Reader, parts *[]string) error {
	return in.Fields(map[string]any{
		"content": func() error {
			if in.Kind() == strictjson.String {
				text, err := in.String()
				*parts = append(*parts, text)
				return err
			}
			return in.List(func() error { return f.part(in, parts) })
		},
	})
}

// part reads a part of a message: a text, or the URL of an image.
func (f *fields) part(in *strictjson.Reader, parts *[]string) error {
	var kind, text, url string
	err := in.Fields(map[string]any{
		"type": &kind, "text": &text,
		"image_url": func() error { return in.Fields(map[string]any{"url": &url}) },
	})
	switch {
	case err != nil:
		return err
	case kind == "text":
		*parts = append(*parts, text)
	case kind == "image_url":
		f.images = append(f.images, url)
	default:
		return fmt.Errorf("a part of a message is of type %s: want text or image_url", quote.Short(kind))
	}
	return nil
}

// addText adds a text to the members that are carried.
func (f *fields) addText(key, text string) {
	value, err := json.Marshal(text)
	if err == nil {
		f.add(key, value)
	}
}
