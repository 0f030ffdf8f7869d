package server

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"paligemma/internal/ask"
	"paligemma/internal/task"
)

// endpoint is one of those that are called as the commands are.
type endpoint struct {
	name      string
	fields    []string // that a request may have
	maxTokens int      // where neither the request nor the server says how many; 0: it writes no text
	draws     bool     // the answer may be a drawing
	pictures  [2]int   // how many a request has, at least and at most

	// fill makes the question of a request.
	fill func(in *taskRequest, c *call) error
}

// manyPictures is as many as the server allows.
const manyPictures = 1 << 20

var (
	anyFields  = []string{"image", "model", "lora"}
	textFields = slices.Concat(anyFields, []string{"prompt", "stream", "max_tokens", "temperature", "top_k", "top_p", "seed", "beams", "num_return", "logprobs"})
	findFields = slices.Concat(textFields, []string{"objects", "stop_repeats"})
)

// endpoints are those of all tasks.
var endpoints = []endpoint{
	{name: "caption", maxTokens: task.MaxTokensText, pictures: [2]int{1, 1}, fill: fillCaption, fields: slices.Concat(textFields, []string{"lang", "style", "box"})},
	{name: "vqa", maxTokens: task.MaxTokensText, pictures: [2]int{1, 1}, fill: fillVQA, fields: slices.Concat(textFields, []string{"lang", "box", "choices"})},
	{name: "ocr", maxTokens: task.MaxTokensOCR, pictures: [2]int{1, 1}, fill: fillOCR, fields: textFields},
	{name: "detect", maxTokens: task.MaxTokensObjects, pictures: [2]int{1, 1}, fill: fillDetect, fields: findFields, draws: true},
	{name: "segment", maxTokens: task.MaxTokensObjects, pictures: [2]int{1, 1}, fill: fillSegment, fields: findFields, draws: true},
	{name: "score", pictures: [2]int{0, 1}, fill: fillScore, fields: slices.Concat(anyFields, []string{"prompt", "suffixes", "box"})},
	{name: "generate", maxTokens: task.MaxTokensText, pictures: [2]int{0, manyPictures}, fill: fillGenerate, fields: slices.Concat(textFields, []string{"images", "box", "stop_repeats"})},
	{name: "parse", pictures: [2]int{0, 1}, fill: fillParse, fields: []string{"image", "model", "text", "size"}, draws: true},
}

// routeTasks adds the endpoints that are called as the commands are.
func (s *Server) routeTasks(mux *http.ServeMux) {
	for i := range endpoints {
		e := &endpoints[i]
		mux.HandleFunc("POST /v1/"+e.name, func(w http.ResponseWriter, r *http.Request) { s.task(w, r, e) })
	}
}

// newCall makes the call of a request, whose values it checks.
func (s *Server) newCall(e *endpoint, in *taskRequest) (*call, error) {
	c := &call{task: e.name, model: in.model, lora: in.lora, pictures: in.pictures}
	switch n := len(in.pictures); {
	case n < e.pictures[0]:
		return nil, invalid("image", "image is missing: base64, data:image/png;base64,…, or a file in a form")
	case n > e.pictures[1]:
		return nil, invalid("image", e.name+" takes one image")
	case in.box != nil && n != 1:
		return nil, invalid("box", "a box is of one image")
	}
	if e.maxTokens > 0 {
		if err := s.fillWriting(e, in, c); err != nil {
			return nil, err
		}
	}
	c.question.Box = in.box
	return c, e.fill(in, c)
}

// fillWriting says how a text is written.
func (s *Server) fillWriting(e *endpoint, in *taskRequest, c *call) error {
	w := &in.writing
	if !in.has("max_tokens") {
		if w.MaxTokens = s.o.MaxTokens; w.MaxTokens <= 0 {
			w.MaxTokens = e.maxTokens
		}
	}
	if err := w.Check(spelled); err != nil {
		return err
	}
	switch {
	case in.seed != nil:
		w.Sampling.Seed = *in.seed
	case w.Sampling.Temperature > 0:
		w.Sampling.Seed = rand.Uint64()
	}
	c.question.Return = w.NumReturn
	q := &c.question.Request
	q.MaxTokens, q.Sampling, q.Beams, q.TopLogProbs, q.StopRepeats = w.MaxTokens, w.Sampling, w.Beams, w.LogProbs, w.StopRepeats
	return nil
}

// excludes makes sure that a request has none of some fields.
func (in *taskRequest) excludes(field string, others ...string) error {
	for _, other := range others {
		if in.has(other) {
			return invalid(other, fmt.Sprintf("%s and %s exclude each other", field, other))
		}
	}
	return nil
}

func fillCaption(in *taskRequest, c *call) error {
	if in.prompt != nil {
		c.question.Prompt = *in.prompt
		return in.excludes("prompt", "lang", "style")
	}
	prompt, err := task.Caption(in.lang, in.style)
	switch {
	case err != nil && in.lang != "" && task.CheckLang(in.lang) != nil:
		return invalid("lang", err.Error())
	case err != nil:
		return invalid("style", err.Error())
	}
	if in.box != nil {
		prompt, _, _ = strings.Cut(prompt, " ")
		err = in.excludes("box", "lang") // the prompt for a box names no language
	}
	c.question.Prompt = prompt
	return err
}

// needPrompt makes sure that there is a prompt.
func (in *taskRequest) needPrompt() error {
	if in.prompt == nil {
		return invalid("prompt", `prompt is missing (it may be "")`)
	}
	return nil
}

func fillVQA(in *taskRequest, c *call) error {
	if err := in.needPrompt(); err != nil {
		return err
	}
	if in.lang != "" {
		if err := task.CheckLang(in.lang); err != nil {
			return invalid("lang", err.Error())
		}
	}
	c.question.Prompt = task.VQA(*in.prompt, in.lang)
	if !in.has("choices") {
		return nil
	}
	if err := ask.CheckChoices(in.choices); err != nil {
		return invalid("choices", "choices: "+err.Error())
	}
	c.question.Choices, c.question.Rate, c.question.Pick = in.choices, true, true
	return in.excludes("choices", "temperature", "beams", "logprobs")
}

func fillOCR(in *taskRequest, c *call) error {
	if c.question.Prompt = task.OCR(); in.prompt != nil {
		c.question.Prompt = *in.prompt
	}
	return nil
}

func fillDetect(in *taskRequest, c *call) error { return in.fillObjects(c, task.Detect, false) }

func fillSegment(in *taskRequest, c *call) error { return in.fillObjects(c, task.Segment, true) }

// fillObjects has the model look for objects.
func (in *taskRequest) fillObjects(c *call, prompt func(string) string, masks bool) error {
	c.question.Objects, c.question.Masks = true, masks
	switch {
	case in.prompt != nil:
		c.question.Prompt = *in.prompt
		return in.excludes("prompt", "objects")
	case len(in.objects) == 0:
		return invalid("objects", `objects are missing: what is to be found, such as ["cat", "dog"]`)
	case slices.Contains(in.objects, ""):
		return invalid("objects", "objects: one of them is empty")
	}
	c.question.Prompt = prompt(strings.Join(in.objects, " ; "))
	return nil
}

func fillScore(in *taskRequest, c *call) error {
	if err := in.needPrompt(); err != nil {
		return err
	}
	if len(in.suffixes) == 0 {
		return invalid("suffixes", "suffixes are missing: what is to be rated?")
	}
	c.question.Prompt, c.question.Choices, c.question.Rate = *in.prompt, in.suffixes, true
	return nil
}

func fillGenerate(in *taskRequest, c *call) error {
	if err := in.needPrompt(); err != nil {
		return err
	}
	c.question.Prompt = *in.prompt
	c.readObjects()
	return nil
}

func fillParse(in *taskRequest, c *call) error {
	if in.text == nil {
		return invalid("text", "text is missing: what a PaliGemma wrote")
	}
	q := &c.question
	q.Written, q.Objects, q.Masks = in.text, true, true
	switch {
	case in.size == "" && len(in.pictures) == 0:
		return invalid("size", "size is missing: the width and height of the image, such as 640x480 (or image)")
	case in.size == "":
		return nil
	case len(in.pictures) > 0:
		return in.excludes("image", "size")
	}
	var err error
	if q.Size.X, q.Size.Y, err = task.ParseSize(in.size); err != nil {
		return invalid("size", "size "+err.Error())
	}
	return nil
}
