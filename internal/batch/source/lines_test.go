package source

import (
	"slices"
	"strings"
	"testing"
)

// TestParseLine reads lines of JSON: what a line may be, and each kind of line that is
// refused.
func TestParseLine(t *testing.T) {
	for _, c := range []struct {
		name, line string
		images     []string
		prompt     string
		err        string // part of it
	}{
		{name: "one image", line: `{"image": "a.png", "prompt": "caption en"}`, images: []string{"a.png"}, prompt: "caption en"},
		{name: "several images", line: `{"prompt":"compare","images":["a.png","b.png"]}`, images: []string{"a.png", "b.png"}, prompt: "compare"},
		{name: "text alone", line: `{"prompt": "2 + 2"}`, prompt: "2 + 2"},
		{name: "empty prompt", line: `{"image": "a.png", "prompt": ""}`, images: []string{"a.png"}},
		{name: "no images", line: `{"images": [], "prompt": "x"}`, prompt: "x"},
		{name: "null", line: `{"image": "a.png", "images": null, "prompt": "x"}`, images: []string{"a.png"}, prompt: "x"},
		{name: "escapes and space", line: " {\"image\" : \"\\u00e4.png\",\t\"prompt\": \"a\\nb\"}\r", images: []string{"ä.png"}, prompt: "a\nb"},

		{name: "key twice", line: `{"image": "a.png", "image": "b.png", "prompt": "x"}`, err: `key "image" is there twice`},
		{name: "prompt twice", line: `{"image": "a.png", "prompt": "x", "prompt": null}`, err: `key "prompt" is there twice`},
		{name: "unknown field", line: `{"prompt": "x", "promt": "y"}`, prompt: "x"},
		{name: "unknown field that is null", line: `{"prompt": "x", "tokens": null}`, prompt: "x"},
		{name: "another case", line: `{"Image": "a.png", "prompt": "x"}`, prompt: "x"},
		{name: "two objects", line: `{"prompt": "x"} {"prompt": "y"}`, err: "one JSON object a line"},
		{name: "something after", line: `{"prompt": "x"},`, err: "one JSON object a line"},
		{name: "both", line: `{"image": "a.png", "images": ["b.png"], "prompt": "x"}`, err: "exclude each other"},
		{name: "image is a number", line: `{"image": 7, "prompt": "x"}`, err: "image: 7 where a string is wanted"},
		{name: "images is a string", line: `{"images": "a.png", "prompt": "x"}`, err: `images: "a.png" where a list is wanted`},
		{name: "null among images", line: `{"images": ["a.png", null], "prompt": "x"}`, err: "images: null where a string is wanted"},
		{name: "prompt is a list", line: `{"image": "a.png", "prompt": ["x"]}`, err: "prompt: a list where a string is wanted"},
		{name: "a string", line: `"a.png"`, err: `"a.png" where an object is wanted`},
		{name: "null alone", line: `null`, err: "null where an object is wanted"},
		{name: "no json", line: `a.png: caption en`, err: "byte 0"},
		{name: "cut off", line: `{"image": "a.png", "prompt": "x`, err: "it ends inside a string"},
		{name: "not utf-8", line: "{\"image\": \"\xff.png\", \"prompt\": \"x\"}", err: "not valid utf-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := (&Options{}).parseLine(Stdin, []byte(c.line))
			var images []string
			for _, image := range rec.Images {
				images = append(images, image.Name)
			}
			prompt, err := "", rec.Err
			if rec.Prompt != nil {
				prompt = *rec.Prompt
			}
			switch {
			case c.err == "" && (err != nil || !slices.Equal(images, c.images) || prompt != c.prompt):
				t.Errorf("%q, %q, %v, want %q, %q", images, prompt, err, c.images, c.prompt)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || len(err.Error()) > 500):
				t.Errorf("%v, want an error with %q", err, c.err)
			}
		})
	}
}
