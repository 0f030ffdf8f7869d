package server

import (
	"fmt"
	"net/http"
	"slices"

	"paligemma/internal/quote"
)

// listedModel is a model as OpenAI's clients read it.
type listedModel struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	OwnedBy string   `json:"owned_by"`
	LoRA    []string `json:"lora,omitempty"` // adapters that a request may name
}

func (s *Server) newListedModel(m *Model) listedModel {
	return listedModel{ID: m.Name, Object: "model", Created: s.started.Unix(), OwnedBy: "paligemma", LoRA: m.adapterNames()}
}

// listModels answers which models there are.
func (s *Server) listModels(w http.ResponseWriter, r *http.Request) {
	list := []listedModel{}
	for i := range s.o.Models {
		list = append(list, s.newListedModel(&s.o.Models[i]))
	}
	s.reply(w, r, http.StatusOK, map[string]any{"object": "list", "data": list})
}

// showModel answers what is known of a model.
func (s *Server) showModel(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	i := slices.IndexFunc(s.o.Models, func(m Model) bool { return m.Name == id })
	if i < 0 {
		s.fail(w, r, notFound("model", fmt.Sprintf("there is no model %s", quote.Short(id))))
		return
	}
	s.reply(w, r, http.StatusOK, s.newListedModel(&s.o.Models[i]))
}
