package server

import (
	"context"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"paligemma/internal/result"
)

// metricPrefix begins the names of all metrics. What follows is what vLLM calls the
// same thing, where it has it.
const metricPrefix = "paligemma_"

// metrics count and measure what a server does.
type metrics struct {
	registry *prometheus.Registry
	models   *models

	requests  *prometheus.CounterVec   // by endpoint and code
	duration  *prometheus.HistogramVec // of a request over HTTP, by endpoint
	rejected  *prometheus.CounterVec   // by reason
	canceled  *prometheus.CounterVec   // by stage
	prompt    *prometheus.CounterVec   // tokens
	generated *prometheus.CounterVec   // tokens
	queue     *prometheus.HistogramVec
	vision    *prometheus.HistogramVec
	first     *prometheus.HistogramVec
	between   *prometheus.HistogramVec
	whole     *prometheus.HistogramVec
}

// Buckets of times, in seconds: from what a small model takes to what a large one does.
var (
	longTimes  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
	shortTimes = []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .15, .25, .5, 1, 2.5}
)

func newMetrics(m *models) *metrics {
	x := &metrics{registry: prometheus.NewRegistry(), models: m}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricPrefix + name, Help: help}, labels)
		x.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, label string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: metricPrefix + name, Help: help, Buckets: buckets}, []string{label})
		x.registry.MustRegister(h)
		return h
	}
	x.requests = counter("http_requests_total", "Requests by endpoint and status.", "endpoint", "code")
	x.duration = histogram("http_request_duration_seconds", "From the header of a request to the end of its answer.", longTimes, "endpoint")
	x.rejected = counter("requests_rejected_total", "Requests that were read and ended with an error, by its code.", "reason")
	x.canceled = counter("requests_canceled_total", "Requests whose client went away or whose time was over, by the stage they were in.", "stage")
	x.prompt = counter("prompt_tokens_total", "Tokens of prompts, those of images included.", "model_name")
	x.generated = counter("generation_tokens_total", "Tokens of answers.", "model_name")
	x.queue = histogram("request_queue_time_seconds", "How long requests waited for their place.", longTimes, "model_name")
	x.vision = histogram("request_vision_time_seconds", "How long the images of requests took in the vision tower, where their features were not there.", longTimes, "model_name")
	x.first = histogram("time_to_first_token_seconds", "From the request to its first token.", longTimes, "model_name")
	x.between = histogram("inter_token_latency_seconds", "Between two tokens of an answer.", shortTimes, "model_name")
	x.whole = histogram("e2e_request_latency_seconds", "From the request to the end of its answer.", longTimes, "model_name")
	x.registry.MustRegister(stateCollector{m}, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return x
}

// routeMetrics adds the endpoint that Prometheus asks.
func (s *Server) routeMetrics(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		ErrorLog: log.New(logWriter{s.log.Error}, "", 0), ErrorHandling: promhttp.ContinueOnError,
	}))
}

// logWriter writes lines of a log.
type logWriter struct{ log func(string, ...any) }

// Write logs a line.
func (l logWriter) Write(line []byte) (int, error) {
	l.log("metrics", "error", strings.TrimSpace(string(line)))
	return len(line), nil
}

// answered counts a request that was answered at an endpoint.
func (x *metrics) answered(endpoint string, status int, took time.Duration) {
	x.requests.WithLabelValues(endpoint, strconv.Itoa(status)).Inc()
	x.duration.WithLabelValues(endpoint).Observe(took.Seconds())
}

// Stages of a call.
const (
	stageQueue  = "queue"
	stageImages = "images"
	stageVision = "vision" // features of the images
	stagePrompt = "prompt"
	stageDecode = "decode"
)

// watched is a call under way.
type watched struct {
	metrics *metrics
	model   string
	stage   string
	begun   time.Time
	placed  time.Time // when it got its place
	latest  time.Time // when its latest token came; zero before
	encodes bool      // features of its images have to be computed
}

// begin begins to watch a call.
func (x *metrics) begin() *watched { return &watched{metrics: x, stage: stageQueue, begun: time.Now()} }

// at says that the call has come to a stage.
func (w *watched) at(stage string) {
	if w.stage == stageQueue {
		w.placed = time.Now()
		w.metrics.queue.WithLabelValues(w.model).Observe(w.placed.Sub(w.begun).Seconds())
	}
	w.stage = stage
}

// token says that a token came.
func (w *watched) token() {
	now := time.Now()
	if w.latest.IsZero() {
		w.stage = stageDecode
		w.metrics.first.WithLabelValues(w.model).Observe(now.Sub(w.begun).Seconds())
	} else {
		w.metrics.between.WithLabelValues(w.model).Observe(now.Sub(w.latest).Seconds())
	}
	w.latest = now
}

// end says how the call ended, which ctx was for.
func (w *watched) end(ctx context.Context, r *result.Result, err error) {
	switch {
	case err != nil && ctx.Err() != nil:
		w.metrics.canceled.WithLabelValues(w.stage).Inc()
	case err != nil:
		_, code := statusOf(err)
		w.metrics.rejected.WithLabelValues(code).Inc()
	case r.Timings != nil:
		w.metrics.whole.WithLabelValues(w.model).Observe(time.Since(w.begun).Seconds())
		if w.encodes {
			w.metrics.vision.WithLabelValues(w.model).Observe(r.Timings.Vision / 1000)
		}
		w.metrics.prompt.WithLabelValues(w.model).Add(float64(r.Timings.PrefillTokens))
		w.metrics.generated.WithLabelValues(w.model).Add(float64(r.Timings.DecodeTokens))
	}
}
