package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"paligemma/internal/result"
)

// ollamaPath begins the addresses of Ollama's interface.
const ollamaPath = "/api/"

// routeOllama adds what clients of Ollama's interface ask.
func (s *Server) routeOllama(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/generate", func(w http.ResponseWriter, r *http.Request) { s.answerOllama(w, r, false) })
	mux.HandleFunc("POST /api/chat", func(w http.ResponseWriter, r *http.Request) { s.answerOllama(w, r, true) })
	mux.HandleFunc("GET /api/tags", s.ollamaTags)
	mux.HandleFunc("POST /api/show", s.ollamaShow)
	mux.HandleFunc("GET /api/ps", s.ollamaRunning)
	mux.HandleFunc("GET /api/version", func(w http.ResponseWriter, r *http.Request) {
		s.reply(w, r, http.StatusOK, map[string]string{"version": s.o.Version})
	})
}

// failOllama answers with an error as Ollama's clients read it.
func (s *Server) failOllama(w http.ResponseWriter, r *http.Request, err error) {
	err = because(r.Context(), err)
	status, _ := statusOf(err)
	setRetryAfter(w, status)
	s.reply(w, r, status, ollamaError{result.Message(err)})
}

type ollamaError struct {
	Error string `json:"error"`
}

// answerOllama answers a request for a text.
func (s *Server) answerOllama(w http.ResponseWriter, r *http.Request, chat bool) {
	start := time.Now()
	body, err := bodyText(r)
	if err != nil {
		s.failOllama(w, r, err)
		return
	}
	t, load, err := s.readOllama(body, chat)
	if err != nil {
		s.failOllama(w, r, err)
		return
	}
	m, err := s.findOllama(t.model)
	if err != nil {
		s.failOllama(w, r, err)
		return
	}
	t.model = m.Name
	f := &ollamaForm{chat: chat, model: m.Name, start: start, logProbs: t.logProbs}
	if len(t.warnings) > 0 {
		w.Header().Set(warningsHeader, strings.Join(t.warnings, "; "))
	}
	switch {
	case load:
		s.loadOllama(w, r, f)
	case t.stream:
		s.streamOllama(w, r, t, f)
	default:
		s.wholeOllama(w, r, t, f)
	}
}

// findOllama returns the model that a request names, with or without a tag.
func (s *Server) findOllama(name string) (*Model, error) {
	m, err := s.models.find(name)
	if untagged, ok := strings.CutSuffix(name, ollamaTag); err != nil && ok {
		return s.models.find(untagged)
	}
	return m, err
}

// ollamaTag ends the names of models where a client adds a tag.
const ollamaTag = ":latest"

// loadOllama opens a model, as a request without a prompt wants it.
func (s *Server) loadOllama(w http.ResponseWriter, r *http.Request, f *ollamaForm) {
	err := s.withModel(r.Context(), f.model, func(*openModel) error { return nil })
	if err != nil {
		s.failOllama(w, r, err)
		return
	}
	last := f.piece("", nil)
	last.Done, last.DoneReason = true, "load"
	s.reply(w, r, http.StatusOK, last)
}

// withModel calls f with a model that is open.
func (s *Server) withModel(ctx context.Context, name string, f func(*openModel) error) error {
	m, _, err := s.models.take(name, nil)
	if err != nil {
		return err
	}
	defer s.models.release(m)
	if err := m.wait(ctx); err != nil {
		return err
	}
	return f(m)
}

// wholeOllama answers with one object.
func (s *Server) wholeOllama(w http.ResponseWriter, r *http.Request, t *textRequest, f *ollamaForm) {
	texts, _, warnings, err := s.wholeTexts(r.Context(), t)
	if err != nil {
		s.failOllama(w, r, err)
		return
	}
	s.reply(w, r, http.StatusOK, f.last(&texts[0], texts[0].text, texts[0].steps, warnings))
}

// streamOllama answers piece by piece, an object a line.
func (s *Server) streamOllama(w http.ResponseWriter, r *http.Request, t *textRequest, f *ollamaForm) {
	live, ctx := s.newLiveAnswer(w, r, "application/x-ndjson", nil)
	defer live.close()
	line := func(v any) error {
		data, err := result.Marshal(v)
		if err != nil {
			return err
		}
		return live.write(append(data, '\n'))
	}
	calls, sent := t.calls(s.o.MaxTokens), &sentText{}
	if t.streams() {
		sent.follow(calls[0], t, func(piece string, steps []result.LogProb) error { return line(f.piece(piece, steps)) })
	}
	err := s.answerAll(ctx, calls, func(_ int, r *result.Result) error {
		texts, err := t.texts(0, r)
		if err != nil {
			return err
		}
		if piece, steps := sent.rest(&texts[0]); piece != "" || len(steps) > 0 {
			if err := line(f.piece(piece, steps)); err != nil {
				return err
			}
		}
		return line(f.last(&texts[0], "", nil, addWarnings(t.warnings, r.Warnings)))
	})
	switch {
	case err != nil && live.withdraw():
		s.failOllama(w, r, err)
	case err != nil:
		_ = line(ollamaError{result.Message(err)})
	}
}
