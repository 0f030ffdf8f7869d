package server

import (
	"net/http"
	"sync"
	"unicode/utf8"

	"paligemma/internal/result"
)

// sentText follows what was sent of a text that is given as it comes.
type sentText struct {
	bytes, characters int
	steps             int
	waiting           []result.LogProb // of tokens whose text is still to come
}

// follow has send get the text of a call as it comes, with what is known of its tokens.
func (sent *sentText) follow(c *call, t *textRequest, send func(piece string, steps []result.LogProb) error) {
	if t.logProbs {
		c.logProbs = func(step result.LogProb) { sent.waiting = append(sent.waiting, step) }
	}
	c.text = func(piece string) error {
		if piece == "" {
			return nil
		}
		steps := t.likeliest(sent.waiting)
		sent.waiting = nil
		err := send(piece, steps)
		sent.bytes += len(piece)
		sent.steps += len(steps)
		return err
	}
}

// rest returns what is still to be sent of a text.
func (sent *sentText) rest(t *writtenText) (string, []result.LogProb) {
	return t.text[min(sent.bytes, len(t.text)):], t.steps[min(sent.steps, len(t.steps)):]
}

// completionStream gives texts as server-sent events.
type completionStream struct {
	*liveAnswer
	form    *completionForm
	request *textRequest
	mu      sync.Mutex // of what follows
	usage   usage
	warned  []string
}

// streamCompletion answers piece by piece.
func (s *Server) streamCompletion(w http.ResponseWriter, r *http.Request, t *textRequest, f *completionForm) {
	live, ctx := s.newLiveAnswer(w, r, "text/event-stream", []byte(": ping\n\n"))
	defer live.close()
	out := &completionStream{liveAnswer: live, form: f, request: t, warned: t.warnings}
	calls := t.calls(s.o.MaxTokens)
	sent := make([]sentText, len(calls))
	if t.streams() {
		for i, c := range calls {
			sent[i].follow(c, t, func(piece string, steps []result.LogProb) error { return out.piece(i, &sent[i], piece, steps) })
		}
	}
	err := s.answerAll(ctx, calls, func(i int, r *result.Result) error { return out.finish(i, &sent[i], r) })
	switch {
	case err != nil && live.withdraw():
		s.fail(w, r, err)
		return
	case err != nil:
		_, body := newErrorBody(err)
		_ = out.event(body)
		return
	}
	if t.usage {
		last := f.envelope(f.pieceObject())
		last.Usage = &out.usage
		err = out.event(last)
	}
	if err == nil {
		_ = live.write([]byte("data: [DONE]\n\n"))
	}
}

// piece sends a piece of a text.
func (out *completionStream) piece(index int, sent *sentText, piece string, steps []result.LogProb) error {
	if err := out.begin(index, sent); err != nil {
		return err
	}
	err := out.choice(out.form.piece(index, piece, steps, sent.characters))
	sent.characters += utf8.RuneCountInString(piece)
	return err
}

// begin sends what comes before the first piece of a text.
func (out *completionStream) begin(index int, sent *sentText) error {
	if sent.bytes > 0 {
		return nil
	}
	if begin := out.form.begin(index); begin != nil {
		return out.choice(begin)
	}
	return nil
}

// finish sends the rest of the answer of call i.
func (out *completionStream) finish(i int, sent *sentText, r *result.Result) error {
	texts, err := out.request.texts(out.request.firstText(i), r)
	if err != nil {
		return err
	}
	out.mu.Lock()
	out.usage.add(r, texts, out.request.sample(i))
	warnings := out.warned
	out.warned = nil
	out.mu.Unlock()
	for i := range texts {
		if err := out.rest(&texts[i], sent); err != nil {
			return err
		}
		last := out.form.envelope(out.form.pieceObject())
		last.Choices = append(last.Choices, out.form.end(&texts[i]))
		if i == 0 {
			last.Warnings = addWarnings(warnings, r.Warnings)
		}
		if err := out.event(last); err != nil {
			return err
		}
		sent = &sentText{} // the others are only known now
	}
	return nil
}

// rest sends what is still to be sent of a text.
func (out *completionStream) rest(t *writtenText, sent *sentText) error {
	piece, steps := sent.rest(t)
	if piece == "" && len(steps) == 0 {
		return out.begin(t.index, sent)
	}
	return out.piece(t.index, sent, piece, steps)
}

// choice sends a piece of one text.
func (out *completionStream) choice(choice any) error {
	o := out.form.envelope(out.form.pieceObject())
	o.Choices = append(o.Choices, choice)
	return out.event(o)
}

// event sends a value.
func (out *completionStream) event(v any) error {
	data, err := result.Marshal(v)
	if err != nil {
		return err
	}
	return out.write(append(append([]byte("data: "), data...), "\n\n"...))
}
