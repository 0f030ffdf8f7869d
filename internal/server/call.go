package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"paligemma/internal/ask"
	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/result"
	"paligemma/internal/task"
)

// call is a request of any endpoint, read and checked, before anything is done for it.
type call struct {
	task     string // what results call it
	model    string // "": the first
	lora     []string
	pictures []picture
	keep     bool                    // the bytes of pictures stay, to draw on
	question ask.Question            // without images
	text     func(text string) error // gets the text as it comes; nil: nobody wants it
	logProbs func(result.LogProb)    // gets a token's log-probability before its text; nil: nobody wants it

	// opened, if set, is called once the call has its place and the model is open, before
	// a token is computed: what follows are errors after the headers of a stream.
	opened func(e *engine.Engine)
}

// picture is a picture of a call, whose bytes may still be to be read.
type picture struct {
	name      string // what results call it
	param     string // of the request, that it comes from; "": not known
	data      []byte // nil: reference says where they are
	reference string // a data: URI or an address
}

// failed says that an error is about the picture.
func (p *picture) failed(err error) error {
	if p.param == "" {
		return err
	}
	return &ask.FieldError{Field: p.param, Err: err}
}

// readObjects has the text read for objects where its prompt asks for them.
func (c *call) readObjects() {
	if prompt := c.question.Prompt; len(c.pictures) == 1 && !c.question.Rate {
		c.question.Masks = task.AsksMasks(prompt)
		c.question.Objects = c.question.Masks || task.AsksBoxes(prompt)
	}
}

// answer answers a call. What it returns of a failed one is what was known.
func (s *Server) answer(ctx context.Context, c *call) (result.Result, error) {
	s.logCall(ctx, c)
	w := s.metrics.begin()
	r, err := s.attempt(ctx, c, w)
	w.end(ctx, &r, err)
	return r, because(ctx, err)
}

// attempt answers a call, and says how far it has come.
func (s *Server) attempt(ctx context.Context, c *call, w *watched) (result.Result, error) {
	r := result.Result{Task: c.task, LoRA: c.lora}
	if n := len(c.pictures); n > s.o.MaxImages {
		return r, invalid("", fmt.Sprintf("%d pictures are more than the limit of %d", n, s.o.MaxImages))
	}
	m, chosen, err := s.models.take(c.model, c.lora)
	if err != nil {
		return r, err
	}
	defer s.models.release(m)
	r.Model, w.model = m.name, m.name
	ticket, err := m.queue.join()
	if err != nil {
		return r, err
	}
	defer ticket.leave()
	if err := m.wait(ctx); err != nil {
		return r, err
	}
	if err := ticket.enter(ctx, c.memory(m.engine)); err != nil {
		return r, err
	}
	w.at(stageImages)
	set, err := m.adapters.take(ctx, chosen)
	if err != nil {
		return r, err
	}
	defer m.adapters.release(set)
	q := &c.question
	q.Adapters = set.adapters
	if q.Images, q.Read, err = s.readPictures(ctx, m, c, &r); err != nil {
		return r, err
	}
	w.encodes = slices.ContainsFunc(q.Images, func(i *engine.Image) bool { return i.EncodeTime() == 0 })
	if c.opened != nil {
		c.opened(m.engine)
	}
	q.Decoder = m.masks
	q.Request.LogProbs = true // for confidences
	if q.Request.Beams <= 1 && !q.Rate {
		q.Request.OnToken = func(_ int, text string) error {
			w.token()
			if c.text == nil {
				return nil
			}
			return c.text(text)
		}
	}
	if c.logProbs != nil {
		tok := m.engine.Tokenizer()
		q.Request.OnLogProbs = func(step model.StepLogProbs) { c.logProbs(result.NewLogProb(tok, step)) }
	}
	w.at(stageVision)
	q.Encoded = func() { w.at(stagePrompt) }
	return r, q.Answer(ctx, m.engine, &r)
}

// memory returns how many bytes keys and values of a call may take.
func (c *call) memory(e *engine.Engine) int64 {
	config, q := e.Config(), &c.question
	room := func(tokens int) int { return min(tokens, config.Text.Context) }
	prompt := room(len(c.pictures)*config.Vision.ImageTokens + len(q.Prompt) + promptExtra)
	bytes := e.SequenceMemory(prompt)
	if q.Rate {
		for _, text := range q.Choices {
			bytes += e.SequenceMemory(room(len(text) + promptExtra))
		}
		return bytes
	}
	return bytes + int64(max(1, q.Request.Beams))*e.SequenceMemory(room(q.Request.MaxTokens))
}

// promptExtra are tokens of a prompt that its text does not have: begin, newline, and
// those of a box. A token has a byte of text at least.
const promptExtra = 8

// readPictures reads and decodes the pictures of a call.
func (s *Server) readPictures(ctx context.Context, m *openModel, c *call, r *result.Result) (images []*engine.Image, took time.Duration, err error) {
	start := time.Now()
	for i := range c.pictures {
		p := &c.pictures[i]
		data := p.data
		if data == nil {
			if data, err = s.fetcher.Read(ctx, p.reference); err != nil {
				return nil, 0, p.failed(err)
			}
		}
		image, err := m.images.GetFor(ctx, data, s.o.Limits, c.question.Adapters)
		if err != nil {
			return nil, 0, s.undecoded(ctx, p, err)
		}
		if c.keep {
			p.data = data
		}
		images = append(images, image)
		r.Warnings = append(r.Warnings, result.NamedWarnings(p.name, len(c.pictures) > 1, image.Warnings)...)
	}
	return images, time.Since(start), nil
}

// undecoded is the error of a picture that was not decoded.
func (s *Server) undecoded(ctx context.Context, p *picture, err error) error {
	var fault *ask.FaultError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &fault):
		s.log.ErrorContext(ctx, "panic", "value", fmt.Sprint(fault.Fault), "stack", string(fault.Stack))
		return p.failed(err)
	}
	return p.failed(result.ImageError{Err: err})
}
