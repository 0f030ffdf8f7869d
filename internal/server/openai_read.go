package server

import (
	"errors"
	"fmt"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// readChat reads a request for /v1/chat/completions.
func (s *Server) readChat(body string) (*textRequest, error) {
	t, messages := newTextRequest(), chatMessages{param: "messages"}
	p := t.params()
	p["messages"] = messages.read
	p["max_completion_tokens"] = p["max_tokens"]
	p["logprobs"] = boolInto(&t.logProbs)
	p["top_logprobs"] = intInto(&t.topLogProbs, 0, maxTopChoices)
	if err := readParams(body, p, t.unsupported); err != nil {
		return nil, err
	}
	if err := s.takeChat(t, &messages); err != nil {
		return nil, err
	}
	return t, t.check()
}

// readCompletion reads a request for /v1/completions.
func (s *Server) readCompletion(body string) (*textRequest, error) {
	t, images := newTextRequest(), []string(nil)
	p := t.params()
	p["prompt"] = t.readPrompts
	p["images"] = stringsInto(&images, s.o.MaxImages)
	p["logprobs"] = func(in *strictjson.Reader) error {
		t.logProbs = true
		return intInto(&t.topLogProbs, 0, maxTopChoices)(in)
	}
	err := readParams(body, p, t.unsupported)
	switch {
	case err != nil:
		return nil, err
	case t.prompts == nil:
		return nil, invalid("prompt", `prompt: it is missing (it may be "")`)
	case t.json:
		return nil, invalid("response_format", "response_format: a completion has none")
	}
	for i, image := range images {
		t.addPicture(fmt.Sprintf("images[%d]", i), image)
	}
	return t, t.check()
}

// readPrompts reads a prompt, or a list of them.
func (t *textRequest) readPrompts(in *strictjson.Reader) error {
	err := stringsInto(&t.prompts, maxTexts)(in)
	if err == nil && len(t.prompts) == 0 {
		err = errors.New("the list is empty")
	}
	return err
}

// addPicture adds a picture, which is a parameter, to the prompts.
func (t *textRequest) addPicture(param, reference string) {
	t.pictures = append(t.pictures, picture{name: fmt.Sprintf("image %d", len(t.pictures)+1), param: param, reference: reference})
}

// chatMessages are the messages of a chat, of which the last one of a user counts.
type chatMessages struct {
	param   string // what the list is called
	count   int
	asked   int    // which of them is the user's last, from 1; 0: none
	content string // of it, as JSON; "": it has none
	images  string // of it, where they are a list of their own (Ollama); "": it has none
	systems int    // messages that are a system's
}

// Limits of a chat.
const (
	maxMessages = 10_000
	maxParts    = 1000 // of a message
)

// read reads the messages.
func (m *chatMessages) read(in *strictjson.Reader) error {
	return in.List(func() error {
		if m.count == maxMessages {
			return fmt.Errorf("more than %d messages", maxMessages)
		}
		err := m.message(in)
		m.count++
		return wrong(fmt.Sprintf("%s[%d]", m.param, m.count-1), err)
	})
}

// message reads a message. Only the user's last one is read closer.
func (m *chatMessages) message(in *strictjson.Reader) error {
	path := fmt.Sprintf("%s[%d].", m.param, m.count)
	var role, content, images string
	err := readObject(in, path, params{
		"role":    stringInto(&role),
		"content": laterInto(&content),
		"images":  laterInto(&images),
	}, nil)
	if err != nil {
		return err
	}
	switch role {
	case "user":
		m.asked, m.content, m.images = m.count+1, content, images
	case "system", "developer":
		m.systems++
	case "assistant", "tool", "function":
	default:
		return invalid(path+"role", path+"role: "+quote.Short(role)+" where user, assistant, system, developer or tool is wanted")
	}
	return nil
}

// takeChat makes the last message of a user the prompt.
func (s *Server) takeChat(t *textRequest, m *chatMessages) error {
	if m.asked == 0 {
		return invalid(m.param, m.param+": want a message whose role is user")
	}
	if err := s.warnOfTurns(t, m); err != nil {
		return err
	}
	path := fmt.Sprintf("%s[%d].", m.param, m.asked-1)
	if m.content == "" {
		return invalid(path+"content", path+"content: it is missing")
	}
	in, err := strictjson.NewReader(m.content)
	if err != nil {
		return notJSON(err)
	}
	path += "content"
	if in.Kind() == strictjson.String {
		t.prompts = []string{""}
		return wrong(path, stringInto(&t.prompts[0])(in))
	}
	var texts []string
	i := 0
	err = in.List(func() error {
		if i == maxParts {
			return fmt.Errorf("more than %d parts", maxParts)
		}
		err := s.readPart(in, t, &texts, fmt.Sprintf("%s[%d]", path, i))
		i++
		return err
	})
	t.prompts = []string{strings.Join(texts, "\n")}
	return wrong(path, err)
}

// warnOfTurns says that all messages but one are ignored, or refuses them.
func (s *Server) warnOfTurns(t *textRequest, m *chatMessages) error {
	if others := m.count - m.systems - 1; others > 0 {
		t.warnings = append(t.warnings, "only the last message of the user counts: a PaliGemma knows no earlier turns")
	}
	if m.systems > 0 {
		t.warnings = append(t.warnings, "messages of the system are ignored: a PaliGemma knows none")
	}
	if s.o.StrictChat && len(t.warnings) > 0 {
		return invalid(m.param, m.param+": "+t.warnings[0])
	}
	return nil
}

// readPart reads a part of a message: a text, or the address of an image.
func (s *Server) readPart(in *strictjson.Reader, t *textRequest, texts *[]string, path string) error {
	var kind, text, image string
	part := params{
		"type": stringInto(&kind),
		"text": stringInto(&text),
		"image_url": func(in *strictjson.Reader) error {
			if in.Kind() == strictjson.String {
				return stringInto(&image)(in)
			}
			return readObject(in, path+".image_url.", params{"url": stringInto(&image)}, nil)
		},
	}
	if err := readObject(in, path+".", part, nil); err != nil {
		return wrong(path, err)
	}
	switch kind {
	case "text":
		*texts = append(*texts, text)
	case "image_url":
		if len(t.pictures) == s.o.MaxImages {
			return invalid(path, fmt.Sprintf("%s: more than %d images", path, s.o.MaxImages))
		}
		t.addPicture(path+".image_url", image)
	default:
		return invalid(path+".type", path+".type: "+quote.Short(kind)+" where text or image_url is wanted")
	}
	return nil
}
