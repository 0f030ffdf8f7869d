// Package server answers requests over HTTP: what the command line answers, as JSON of
// its own (/v1/caption and others), and as the clients of OpenAI's and Ollama's
// interfaces want it.
//
// A handler reads a request into a [call], which knows nothing of HTTP. Server.answer
// waits for a place in the queue, reads and decodes the pictures, and asks the engine.
// JSON is known at the edges only.
package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"paligemma/internal/adapter"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
	"paligemma/internal/server/fetch"
)

// Defaults of Options.
const (
	defaultBody        = 128 << 20
	defaultImages      = 16
	defaultConnections = 1000
)

// Options say what is served, to whom and within which limits.
type Options struct {
	Version string
	Models  []Model // the first is the one that is meant where a request names none

	Parallel     int           // texts decoded together
	MaxQueue     int           // requests that wait for a place; more are refused
	KeepAlive    time.Duration // models that nobody asked for are closed after it; 0: never
	ImageCache   int64         // bytes of pictures and features that are kept
	AdapterCache int64         // bytes of adapters that are kept in memory

	MaxBody   int64             // bytes of a request; 0: 128 MiB
	MaxImages int               // of a request; 0: 16
	Limits    preprocess.Limits // of a picture
	MaxTokens int               // written where a request says nothing; 0: as many as the task's
	Timeout   time.Duration     // of a whole request; 0: none
	Patience  Patience          // with clients
	PingEvery time.Duration     // how often a stream shows that it lives while there is nothing to say; 0: 15 s

	MaxConnections int           // that are open; 0: 1000
	Fetch          fetch.Options // pictures by address

	Keys       func() []string // the keys of those who may ask; nil: everybody may
	Hosts      []string        // names that the Host header may have besides localhost, as CheckHostPattern has them
	Origins    []string        // whose pages may ask (CORS), as CheckOrigin has them
	StrictChat bool            // a chat's earlier turns and system messages are errors

	Log     *slog.Logger
	Verbose bool // prompts are logged
}

// Model is a model that a server offers. Open and Masks are called when it is first
// asked for, and again after it was closed.
type Model struct {
	Name     string
	Adapters []Adapter                                             // that requests may ask for by name, in "lora"
	Open     func(adapters []adapter.Spec) (*engine.Engine, error) // with adapters of its own, or none
	Masks    func(*engine.Engine) (*engine.Masks, error)           // nil where it has no mask decoder
}

// Server answers requests. Its methods may be called from any goroutine.
type Server struct {
	o        Options
	log      *slog.Logger
	models   *models
	fetcher  *fetch.Fetcher
	mux      *http.ServeMux
	metrics  *metrics
	canvases chan struct{} // one for each picture that is drawn on at the moment
	loaded   atomic.Bool
	draining atomic.Bool
	started  time.Time
}

// New makes a server. The caller closes it.
func New(o Options) (*Server, error) {
	if len(o.Models) == 0 {
		return nil, errors.New("no models to serve")
	}
	f, err := fetch.New(o.Fetch)
	if err != nil {
		return nil, err
	}
	o = o.orDefault()
	s := &Server{
		o: o, log: slog.New(contextHandler{o.Log.Handler()}), models: newModels(o), fetcher: f, mux: http.NewServeMux(), canvases: make(chan struct{}, maxDecoders), started: time.Now(),
	}
	s.metrics = newMetrics(s.models)
	s.route()
	return s, nil
}

// orDefault returns options without zeros where these make no sense.
func (o Options) orDefault() Options {
	o.Patience = o.Patience.orDefault()
	o.Parallel = cmp.Or(o.Parallel, engine.DefaultParallel)
	o.MaxBody = cmp.Or(o.MaxBody, defaultBody)
	o.MaxImages = cmp.Or(o.MaxImages, defaultImages)
	o.MaxConnections = cmp.Or(o.MaxConnections, defaultConnections)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}

// Load opens the first model. Until then requests wait for it, and /health says so.
func (s *Server) Load(ctx context.Context) error {
	m, _, err := s.models.take("", nil)
	if err != nil {
		return err
	}
	defer s.models.release(m)
	if err := m.wait(ctx); err != nil {
		return err
	}
	s.loaded.Store(true)
	return nil
}

// Drain has /health say that no more requests are wanted.
func (s *Server) Drain() { s.draining.Store(true) }

// Close closes all models. No request may be under way.
func (s *Server) Close() error {
	s.models.close()
	return s.fetcher.Close()
}

// Handler returns what answers requests.
func (s *Server) Handler() http.Handler { return s.guard(s.mux) }

// route adds all endpoints.
func (s *Server) route() {
	for _, add := range []func(*http.ServeMux){
		s.routeTasks, s.routePage, s.routeOpenAPI, s.routeHealth, s.routeMetrics, s.routeOpenAI, s.routeOllama, s.routeRest,
	} {
		add(s.mux)
	}
}

// endpoint returns the path of the endpoint that a request is for, as it is routed.
func (s *Server) endpoint(r *http.Request) string {
	_, pattern := s.mux.Handler(r)
	if pattern == "" {
		return "other"
	}
	return pattern[strings.IndexByte(pattern, ' ')+1:]
}
