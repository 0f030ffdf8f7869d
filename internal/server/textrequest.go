package server

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"paligemma/internal/model"
	"paligemma/internal/result"
	"paligemma/internal/strictjson"
	"paligemma/internal/task"
)

// Limits of what a request for texts may ask.
const (
	maxTexts      = 64 // of all prompts together
	maxStops      = 16
	maxStop       = 1000 // bytes of a stop string
	maxChoices    = 1000
	maxAdapters   = 16
	maxTopChoices = 100 // likeliest tokens in the place of each
)

// textRequest asks for texts, as clients of OpenAI's and Ollama's interfaces do.
type textRequest struct {
	model    string
	lora     []string
	prompts  []string
	pictures []picture // of each prompt
	warnings []string  // what of the request does not count

	n           int // texts for each prompt
	maxTokens   int // 0: as many as are usual for the prompt
	sampling    model.Sampling
	seed        *int64
	stop        []string
	stopRepeats bool
	beams       int
	choices     []string // to rate in place of writing a text; nil: none
	box         *[4]float64
	logProbs    bool
	topLogProbs int

	stream bool
	json   bool // a text is the object that docs/json.md describes
	usage  bool // a stream ends with the numbers of tokens
}

func newTextRequest() *textRequest { return &textRequest{n: 1, beams: 1} }

// params returns the parameters that have the same names in all interfaces of OpenAI's.
func (t *textRequest) params() params {
	return params{
		"model":           stringInto(&t.model),
		"lora":            stringsInto(&t.lora, maxAdapters),
		"n":               intInto(&t.n, 1, maxTexts),
		"max_tokens":      intInto(&t.maxTokens, 1, math.MaxInt32),
		"temperature":     floatInto(&t.sampling.Temperature),
		"top_p":           floatInto(&t.sampling.TopP),
		"top_k":           intInto(&t.sampling.TopK, -1, math.MaxInt32),
		"seed":            seedInto(&t.seed),
		"stop":            stringsInto(&t.stop, maxStops),
		"stop_repeats":    boolInto(&t.stopRepeats),
		"beams":           intInto(&t.beams, 1, model.MaxBeams),
		"choices_text":    stringsInto(&t.choices, maxChoices),
		"box":             boxInto(&t.box),
		"stream":          boolInto(&t.stream),
		"stream_options":  object("stream_options.", params{"include_usage": boolInto(&t.usage)}),
		"response_format": t.readFormat,
	}
}

// seedInto reads a seed, any integer of 64 bits.
func seedInto(to **int64) reader {
	return func(in *strictjson.Reader) error {
		n, err := in.Int(math.MinInt64, math.MaxInt64)
		*to = &n
		return err
	}
}

// readFormat reads the form that a text should have.
func (t *textRequest) readFormat(in *strictjson.Reader) error {
	kind := ""
	if err := readObject(in, "response_format.", params{"type": stringInto(&kind)}, nil); err != nil {
		return err
	}
	switch kind {
	case "text":
	case "json_object":
		t.json = true
	case "json_schema":
		return invalid("response_format", "response_format: a model such as this one cannot be held to a schema: json_object gives the JSON that docs/json.md describes")
	default:
		return invalid("response_format.type", "response_format.type: want text or json_object")
	}
	return nil
}

// rule is a combination of parameters that no request may have.
type rule struct {
	broken         bool
	param, message string
}

// rules returns those about what has no meaning without something else.
func (t *textRequest) rules() []rule {
	return []rule{
		{t.choices != nil && len(t.choices) == 0, "choices_text", "want a text at least"},
		{len(t.prompts)*t.n > maxTexts, "n", fmt.Sprintf("%d texts for each of %d prompts are more than %d", t.n, len(t.prompts), maxTexts)},
		{t.topLogProbs > 0 && !t.logProbs, "top_logprobs", "needs logprobs to be true"},
		{t.usage && !t.stream, "stream_options", "needs stream to be true"},
		{t.box != nil && len(t.pictures) != 1, "box", "needs one image"},
	}
}

// searchRules returns those about beams and texts that are rated, which are not
// written token by token.
func (t *textRequest) searchRules() []rule {
	beams, rates, several := t.beams > 1, t.choices != nil, t.n > 1
	if !beams && !rates {
		return []rule{{several && t.sampling.Temperature == 0, "n", "at temperature 0 all texts are the same: set temperature, or beams for the likeliest texts"}}
	}
	return []rule{
		{beams && rates, "beams", "choices_text are rated: there is nothing to search"},
		{t.logProbs, "logprobs", "beams and choices_text have none"},
		{len(t.stop) > 0, "stop", "beams and choices_text end by themselves"},
		{t.stopRepeats, "stop_repeats", "beams and choices_text end by themselves"},
		{beams && t.sampling.Temperature != 0, "temperature", "a beam search does not sample"},
		{several && rates, "n", "choices_text have one answer"},
		{several && t.json, "n", "with beams and JSON there is one answer, which has the alternatives"},
		{t.n > t.beams && beams, "n", "more texts than beams"},
	}
}

// check finds values that do not go together, and completes those that are missing.
func (t *textRequest) check() error {
	for _, r := range slices.Concat(t.rules(), t.searchRules()) {
		if r.broken {
			return invalid(r.param, r.param+": "+r.message)
		}
	}
	if err := checkStops(t.stop); err != nil {
		return invalid("stop", "stop: "+err.Error())
	}
	return t.checkSampling()
}

// checkStops finds stop strings that are empty or too long.
func checkStops(stops []string) error {
	switch {
	case slices.Contains(stops, ""):
		return errors.New("a string is empty")
	case slices.ContainsFunc(stops, func(s string) bool { return len(s) > maxStop }):
		return fmt.Errorf("a string has more than %d bytes", maxStop)
	}
	return nil
}

// checkSampling checks the ranges, and draws a seed where none is given.
func (t *textRequest) checkSampling() error {
	s := &t.sampling
	s.TopK = max(s.TopK, 0)
	switch {
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0):
		return invalid("temperature", "temperature: want 0 or more")
	case !(s.TopP >= 0 && s.TopP <= 1):
		return invalid("top_p", "top_p: want 0 to 1")
	}
	if t.seed != nil {
		s.Seed = uint64(*t.seed)
	} else if s.Temperature > 0 {
		s.Seed = rand.Uint64()
	}
	return nil
}

// streams reports whether texts can be given as they come.
func (t *textRequest) streams() bool {
	return t.stream && !t.json && !t.stopRepeats && t.beams == 1 && t.choices == nil
}

// calls returns what is to be asked: of each prompt a text, or several samples.
func (t *textRequest) calls(maxTokens int) []*call {
	samples, best := t.n, 1
	if t.beams > 1 {
		samples, best = 1, t.n
	}
	var calls []*call
	for _, prompt := range t.prompts {
		for i := range samples {
			c := &call{task: "generate", model: t.model, lora: t.lora, pictures: t.pictures}
			q := &c.question
			q.Prompt, q.Box, q.Return = prompt, t.box, best
			q.Choices, q.Rate, q.Pick = t.choices, t.choices != nil, true
			q.Request.Sampling, q.Request.Beams = t.sampling, t.beams
			q.Request.Sampling.Seed += uint64(i)
			q.Request.Stop, q.Request.StopRepeats = t.stop, t.stopRepeats
			if t.logProbs {
				q.Request.TopLogProbs = max(1, t.topLogProbs) // 0 would keep none
			}
			if q.Request.MaxTokens = t.maxTokens; t.maxTokens == 0 {
				q.Request.MaxTokens = usualTokens(prompt, maxTokens)
			}
			c.readObjects()
			calls = append(calls, c)
		}
	}
	return calls
}

// likeliest cuts what is known of tokens to the likeliest ones that were asked for.
func (t *textRequest) likeliest(steps []result.LogProb) []result.LogProb {
	for i := range steps {
		steps[i].Top = steps[i].Top[:min(len(steps[i].Top), t.topLogProbs)]
	}
	return steps
}

// firstText returns which of the texts is the first of call i.
func (t *textRequest) firstText(i int) int {
	if t.beams > 1 {
		return i * t.n
	}
	return i
}

// sample returns which of the samples of its prompt call i is.
func (t *textRequest) sample(i int) int {
	if t.beams > 1 {
		return 0
	}
	return i % t.n
}

// usualTokens is how many tokens are written where a request says nothing: most, or
// where that is 0 what the command of such a prompt writes.
func usualTokens(prompt string, most int) int {
	switch {
	case most > 0:
		return most
	case task.AsksBoxes(prompt), task.AsksMasks(prompt):
		return task.MaxTokensObjects
	case strings.TrimSpace(prompt) == task.OCR():
		return task.MaxTokensOCR
	}
	return task.MaxTokensText
}
