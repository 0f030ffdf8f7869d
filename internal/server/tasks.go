package server

import (
	"encoding/json"
	"net/http"

	"paligemma/internal/task"
)

// routeTasks adds the endpoints that are called as the commands are.
func (s *Server) routeTasks(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/caption", s.caption)
}

// caption answers as the command of that name does.
func (s *Server) caption(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Image string `json:"image"`
		Lang  string `json:"lang"`
		Style string `json:"style"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		s.fail(w, r, invalid("", err.Error()))
		return
	}
	prompt, err := task.Caption(in.Lang, in.Style)
	if err != nil {
		s.fail(w, r, invalid("lang", err.Error()))
		return
	}
	c := &call{task: "caption", pictures: []picture{{name: "image", reference: in.Image}}}
	c.question.Prompt, c.question.Request.MaxTokens = prompt, 128
	res, err := s.answer(r.Context(), c)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.reply(w, r, http.StatusOK, res)
}
