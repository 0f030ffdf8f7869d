package server

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"paligemma/internal/engine"
)

// ollamaModel is a model as Ollama's clients read it.
type ollamaModel struct {
	Name       string        `json:"name"`
	Model      string        `json:"model"`
	ModifiedAt string        `json:"modified_at,omitempty"`
	Size       int64         `json:"size"` // of the file, in bytes; 0 while the model is not open
	Digest     string        `json:"digest"`
	Details    ollamaDetails `json:"details"`
	ExpiresAt  string        `json:"expires_at,omitempty"`
	SizeVRAM   *int64        `json:"size_vram,omitempty"`
	Context    int           `json:"context_length,omitempty"`
}

// ollamaDetails are empty in part while a model is not open.
type ollamaDetails struct {
	ParentModel   string   `json:"parent_model"`
	Format        string   `json:"format"`
	Family        string   `json:"family"`
	Families      []string `json:"families"`
	ParameterSize string   `json:"parameter_size"`
	Quantization  string   `json:"quantization_level"`
}

// describeOllama returns what is known of a model without opening it. The digest is
// that of the name: a file is not read for it.
func (s *Server) describeOllama(name string) ollamaModel {
	return ollamaModel{
		Name: name, Model: name, ModifiedAt: rfc3339(s.started), Digest: fmt.Sprintf("%x", sha256.Sum256([]byte(name))),
		Details: ollamaDetails{Format: "gguf", Family: "paligemma", Families: []string{"paligemma"}},
	}
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// complete adds what is known of an open model.
func (d *ollamaModel) complete(e *engine.Engine) {
	parameters, bytes := int64(0), map[string]int64{}
	for _, t := range e.File().Tensors {
		parameters += t.Elements()
		bytes[t.Type.String()] += t.Size
		d.Size += t.Size
	}
	d.Details.ParameterSize = parameterSize(parameters)
	d.Details.Family = e.Config().Arch
	d.Details.Families = []string{d.Details.Family}
	for _, name := range slices.Sorted(maps.Keys(bytes)) {
		if most := d.Details.Quantization; most == "" || bytes[name] > bytes[most] {
			d.Details.Quantization = name
		}
	}
	d.Details.Quantization = strings.ToUpper(d.Details.Quantization)
	d.Context = e.Config().Text.Context
}

// parameterSize formats a number of parameters as Ollama does.
func parameterSize(n int64) string {
	if n >= 1e9 {
		return fmt.Sprintf("%.1fB", float64(n)/1e9)
	}
	return fmt.Sprintf("%.2fM", float64(n)/1e6)
}

// ollamaTags answers which models there are.
func (s *Server) ollamaTags(w http.ResponseWriter, r *http.Request) {
	open := map[string]*engine.Engine{}
	s.models.each(func(o *openModel) { open[o.name] = o.engine })
	list := []ollamaModel{}
	for i := range s.o.Models {
		d := s.describeOllama(s.o.Models[i].Name)
		if e := open[d.Name]; e != nil {
			d.complete(e)
			d.Context = 0
		}
		list = append(list, d)
	}
	s.reply(w, r, http.StatusOK, map[string]any{"models": list})
}

// forever is how long a model stays open that is never closed.
const forever = 100 * 365 * 24 * time.Hour

// ollamaRunning answers which models are open.
func (s *Server) ollamaRunning(w http.ResponseWriter, r *http.Request) {
	list := []ollamaModel{}
	s.models.each(func(o *openModel) {
		d := s.describeOllama(o.name)
		d.complete(o.engine)
		keep := s.o.KeepAlive
		if keep <= 0 {
			keep = forever
		}
		d.Size += o.engine.Stats().AdapterBytes
		inMemory := o.engine.DeviceBytes()
		d.ModifiedAt, d.ExpiresAt, d.SizeVRAM = "", rfc3339(time.Now().Add(keep)), &inMemory
		list = append(list, d)
	})
	s.reply(w, r, http.StatusOK, map[string]any{"models": list})
}

// ollamaShow answers what is known of a model.
func (s *Server) ollamaShow(w http.ResponseWriter, r *http.Request) {
	body, err := bodyText(r)
	if err != nil {
		s.failOllama(w, r, err)
		return
	}
	var name, older string
	err = readParams(body, params{"model": stringInto(&name), "name": stringInto(&older)}, func(string, any) error { return nil })
	if err == nil && name == "" {
		name = older
	}
	m, found := s.findOllama(name)
	if err == nil {
		err = found
	}
	if err != nil {
		s.failOllama(w, r, err)
		return
	}
	err = s.withModel(r.Context(), m.Name, func(o *openModel) error {
		s.reply(w, r, http.StatusOK, s.showOllama(o))
		return nil
	})
	if err != nil {
		s.failOllama(w, r, err)
	}
}

// showOllama describes an open model. A client that asks whether it sees pictures finds
// that among the capabilities.
func (s *Server) showOllama(o *openModel) map[string]any {
	d := s.describeOllama(o.name)
	d.complete(o.engine)
	c := o.engine.Config()
	arch := c.Arch
	return map[string]any{
		"modelfile": "", "parameters": "", "template": "{{ .Prompt }}", "modified_at": d.ModifiedAt, "details": d.Details,
		"capabilities": []string{"completion", "vision"},
		"model_info": map[string]any{
			"general.architecture":        arch,
			"general.name":                c.Name,
			arch + ".context_length":      c.Text.Context,
			arch + ".embedding_length":    c.Text.Hidden,
			arch + ".block_count":         c.Text.Layers,
			arch + ".vision.image_size":   c.Vision.ImageSize,
			arch + ".vision.image_tokens": c.Vision.ImageTokens,
		},
	}
}
