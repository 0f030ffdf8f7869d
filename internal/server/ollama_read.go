package server

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// ollamaExtras are what a request of Ollama's interface says besides the text that it
// asks for.
type ollamaExtras struct {
	prompt   string
	images   []string // in base64
	system   string
	suffix   string
	tools    any
	think    any
	messages chatMessages
}

// readOllama reads a request for /api/generate or /api/chat. load is true for one that
// only wants the model to be opened. Parameters that are not known are skipped, as
// Ollama does it.
func (s *Server) readOllama(body string, chat bool) (t *textRequest, load bool, err error) {
	t, more := newTextRequest(), ollamaExtras{messages: chatMessages{param: "messages"}}
	t.stream = true
	skip := func(string, any) error { return nil }
	p := t.ollamaParams()
	p["think"] = shortInto(&more.think)
	if chat {
		p["messages"] = more.messages.read
		p["tools"] = shortInto(&more.tools)
	} else {
		p["prompt"] = stringInto(&more.prompt)
		p["images"] = stringsInto(&more.images, s.o.MaxImages)
		p["system"] = stringInto(&more.system)
		p["suffix"] = stringInto(&more.suffix)
	}
	err = readParams(body, p, skip)
	if err == nil {
		err = more.check()
	}
	if err != nil {
		return nil, false, err
	}
	if chat {
		load = more.messages.count == 0
		err = s.takeOllamaChat(t, &more)
	} else {
		load = more.prompt == "" && len(more.images) == 0
		err = s.takeOllamaPrompt(t, &more)
	}
	if err == nil {
		err = t.check()
	}
	return t, load, err
}

// ollamaParams are the parameters that /api/generate and /api/chat share.
func (t *textRequest) ollamaParams() params {
	return params{
		"model":        stringInto(&t.model),
		"lora":         stringsInto(&t.lora, maxAdapters),
		"stream":       boolInto(&t.stream),
		"format":       t.readOllamaFormat,
		"options":      object("options.", t.ollamaOptions()),
		"logprobs":     boolInto(&t.logProbs),
		"top_logprobs": intInto(&t.topLogProbs, 0, maxTopChoices),
	}
}

// check refuses what the models cannot do.
func (m *ollamaExtras) check() error {
	switch {
	case !isEmpty(m.tools):
		return invalid("tools", "tools: the model does not support tools")
	case !isEmpty(m.think):
		return invalid("think", "think: the model does not support thinking")
	case m.suffix != "":
		return invalid("suffix", "suffix: the model does not support insert")
	}
	return nil
}

// readOllamaFormat reads the form that a text should have.
func (t *textRequest) readOllamaFormat(in *strictjson.Reader) error {
	if in.Kind() != strictjson.String {
		if err := in.Skip(); err != nil {
			return err
		}
		return invalid("format", "format: a model such as this one cannot be held to a schema: json gives the JSON that docs/json.md describes")
	}
	format, err := in.String()
	if t.json = format == "json"; err == nil && !t.json && format != "" {
		err = errors.New("want json")
	}
	return err
}

// ollamaOptions are the options that mean something here.
func (t *textRequest) ollamaOptions() params {
	var seed int
	return params{
		"temperature": floatInto(&t.sampling.Temperature),
		"top_p":       floatInto(&t.sampling.TopP),
		"top_k":       wholeInto(&t.sampling.TopK),
		"stop":        stringsInto(&t.stop, maxStops),
		"seed": func(in *strictjson.Reader) error {
			err := wholeInto(&seed)(in)
			wide := int64(seed)
			t.seed = &wide
			return err
		},
		"num_predict": func(in *strictjson.Reader) error {
			err := wholeInto(&t.maxTokens)(in)
			if t.maxTokens < 0 { // as many as there is room for
				t.maxTokens = math.MaxInt32
			}
			return err
		},
	}
}

// takeOllamaPrompt makes the prompt and images of /api/generate those of a request.
func (s *Server) takeOllamaPrompt(t *textRequest, m *ollamaExtras) error {
	if m.system != "" {
		m.messages.systems = 1
		m.messages.param = "system"
	}
	m.messages.count = m.messages.systems + 1
	if err := s.warnOfTurns(t, &m.messages); err != nil {
		return err
	}
	t.prompts = []string{m.prompt}
	return s.addBase64(t, "images", m.images)
}

// takeOllamaChat makes the last message of a user the prompt.
func (s *Server) takeOllamaChat(t *textRequest, m *ollamaExtras) error {
	chat := &m.messages
	t.prompts = []string{""}
	if chat.count == 0 {
		return nil
	}
	if chat.asked == 0 {
		return invalid(chat.param, chat.param+": want a message whose role is user")
	}
	if err := s.warnOfTurns(t, chat); err != nil {
		return err
	}
	path := fmt.Sprintf("%s[%d].", chat.param, chat.asked-1)
	if err := readValue(path+"content", chat.content, stringInto(&t.prompts[0])); err != nil {
		return err
	}
	var images []string
	if err := readValue(path+"images", chat.images, stringsInto(&images, s.o.MaxImages)); err != nil {
		return err
	}
	return s.addBase64(t, path+"images", images)
}

// readValue reads a value that is there as text; "" and null are one that is missing.
func readValue(param, text string, read reader) error {
	if text == "" {
		return nil
	}
	in, err := strictjson.NewReader(text)
	if err != nil {
		return notJSON(err)
	}
	if null, err := in.Null(); null || err != nil {
		return wrong(param, err)
	}
	return wrong(param, read(in))
}

// addBase64 adds pictures that are base64, or have an address, to the prompts.
func (s *Server) addBase64(t *textRequest, param string, images []string) error {
	for i, image := range images {
		param := fmt.Sprintf("%s[%d]", param, i)
		t.addPicture(param, image)
		if strings.HasPrefix(image, "data:") || strings.Contains(image[:min(len(image), 8)], "://") {
			continue
		}
		data, err := s.fetcher.Base64(image)
		if err != nil {
			status, code := statusOf(err)
			return &apiError{status, code, param, quote.Error(err).Error()}
		}
		p := &t.pictures[len(t.pictures)-1]
		p.data, p.reference = data, ""
	}
	return nil
}
