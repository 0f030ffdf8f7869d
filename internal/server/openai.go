package server

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"
)

// warningsHeader lists what of a request does not count.
const warningsHeader = "X-Paligemma-Warnings"

// routeOpenAI adds what clients of OpenAI's interface ask.
func (s *Server) routeOpenAI(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/chat/completions", s.chat)
	mux.HandleFunc("POST /v1/completions", s.completion)
	mux.HandleFunc("GET /v1/models", s.listModels)
	mux.HandleFunc("GET /v1/models/{id...}", s.showModel)
}

// chat answers the last message of a user.
func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	s.complete(w, r, true, s.readChat)
}

// completion continues prompts.
func (s *Server) completion(w http.ResponseWriter, r *http.Request) {
	s.complete(w, r, false, s.readCompletion)
}

// complete answers a request that read reads.
func (s *Server) complete(w http.ResponseWriter, r *http.Request, chat bool, read func(body string) (*textRequest, error)) {
	body, err := bodyText(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	t, err := read(body)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	f, err := s.newCompletionForm(t, chat)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if len(t.warnings) > 0 {
		w.Header().Set(warningsHeader, strings.Join(t.warnings, "; "))
	}
	if t.stream {
		s.streamCompletion(w, r, t, f)
		return
	}
	s.wholeCompletion(w, r, t, f)
}

// newCompletionForm begins the answer to a request.
func (s *Server) newCompletionForm(t *textRequest, chat bool) (*completionForm, error) {
	m, err := s.models.find(t.model)
	if err != nil {
		return nil, err
	}
	f := &completionForm{chat: chat, id: "cmpl-" + rand.Text(), created: time.Now().Unix(), model: m.Name, lora: t.lora, logProbs: t.logProbs}
	if chat {
		f.id = "chat" + f.id
	}
	return f, nil
}

// wholeCompletion answers with one object.
func (s *Server) wholeCompletion(w http.ResponseWriter, r *http.Request, t *textRequest, f *completionForm) {
	texts, u, warnings, err := s.wholeTexts(r.Context(), t)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	out := f.envelope(f.object())
	out.Usage, out.Warnings = &u, warnings
	for i := range texts {
		out.Choices = append(out.Choices, f.choice(&texts[i]))
	}
	s.reply(w, r, http.StatusOK, out)
}
