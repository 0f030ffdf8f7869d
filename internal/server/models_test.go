package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"paligemma/internal/demo"
	"paligemma/internal/engine"
	"paligemma/internal/server/fetch"
)

// testOptions are those of a server of the built-in model.
func testOptions() Options {
	return Options{
		Parallel: 4, MaxQueue: 4, ImageCache: 1 << 24, MaxBody: 1 << 24, MaxImages: 4, Fetch: fetch.Options{MaxBytes: 1 << 20},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Models: []Model{builtIn("built-in", nil)},
	}
}

// builtIn is the built-in model under a name. opens counts how often it was opened.
func builtIn(name string, opens *atomic.Int32) Model {
	return Model{
		Name: name,
		Open: func([]string) (*engine.Engine, error) {
			if opens != nil {
				opens.Add(1)
			}
			file, err := demo.Open()
			if err != nil {
				return nil, err
			}
			return engine.New(file, engine.Options{Threads: 1, PrefixBytes: 1 << 20})
		},
		Masks: func(e *engine.Engine) (*engine.Masks, error) { return e.NewMasks(nil) },
	}
}

// newTestServer starts a server.
func newTestServer(t *testing.T, o Options) (*Server, *httptest.Server) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		h.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, h
}

// square returns a PNG with a square of a color.
func square(t *testing.T, c color.Color) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 40, 40))
	for i := range m.Pix {
		m.Pix[i] = 255
	}
	for y := 10; y < 30; y++ {
		for x := 10; x < 30; x++ {
			m.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// dataURI returns a picture as requests have it.
func dataURI(picture []byte) string {
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture)
}

// postJSON sends a request, and returns the status and the JSON of the answer.
func postJSON(t *testing.T, url string, body any) (int, map[string]any) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(url, "application/json", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, got
}

// Models are opened when they are asked for, once, closed when nobody has asked for
// them in a while, and opened again.
func TestKeepAlive(t *testing.T) {
	var opens atomic.Int32
	o := testOptions()
	o.Models, o.KeepAlive = []Model{builtIn("a", &opens), builtIn("b", nil)}, time.Millisecond
	s, h := newTestServer(t, o)
	ask := func(model string) (int, map[string]any) {
		return postJSON(t, h.URL+"/v1/caption", map[string]any{"model": model, "image": dataURI(square(t, color.NRGBA{255, 0, 0, 255}))})
	}
	if opens.Load() != 0 {
		t.Error("a model was opened before anybody asked for it")
	}
	var first string
	for n := int32(1); n <= 2; n++ {
		status, got := ask("a")
		text, _ := got["text"].(string)
		if status != http.StatusOK || text == "" || first != "" && text != first {
			t.Fatalf("%d %v", status, got)
		}
		first = text
		if opens.Load() != n {
			t.Errorf("opened %d times, want %d", opens.Load(), n)
		}
		for held := 1; held > 0; time.Sleep(time.Millisecond) { // until it is closed
			s.models.mu.Lock()
			held = len(s.models.held)
			s.models.mu.Unlock()
		}
	}
}

// With several models an unknown name is an error; with one, any name is its own.
func TestModelNames(t *testing.T) {
	one := testOptions()
	two := testOptions()
	two.Models = []Model{builtIn("a", nil), builtIn("b", nil)}
	for _, c := range []struct {
		name    string
		options Options
		model   string
		lora    []string
		found   string // the model; "": none
	}{
		{"no name", two, "", nil, "a"},
		{"the second", two, "b", nil, "b"},
		{"unknown", two, "c", nil, ""},
		{"one model", one, "gpt-4o", nil, "built-in"},
		{"an adapter that nobody offers", one, "", []string{"x"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newTestServer(t, c.options)
			m, err := s.models.take(c.model, c.lora)
			if c.found == "" {
				if status, _ := statusOf(err); err == nil || status != http.StatusNotFound {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.models.release(m)
			if err := m.wait(t.Context()); err != nil || m.name != c.found {
				t.Errorf("%s, %v", m.name, err)
			}
		})
	}
}

// A model that cannot be opened is an error for who asks, and is tried again.
func TestOpenFails(t *testing.T) {
	o := testOptions()
	works := builtIn("built-in", nil)
	fails := true
	o.Models[0].Open = func(adapters []string) (*engine.Engine, error) {
		if fails {
			return nil, &engine.ModelError{Err: errors.New("model.gguf: it is gone")}
		}
		return works.Open(adapters)
	}
	_, h := newTestServer(t, o)
	body := map[string]any{"image": dataURI(square(t, color.Black))}
	if status, got := postJSON(t, h.URL+"/v1/caption", body); status != http.StatusInternalServerError || !strings.Contains(errorMessage(got), "it is gone") {
		t.Errorf("%d %v", status, got)
	}
	fails = false
	if status, got := postJSON(t, h.URL+"/v1/caption", body); status != http.StatusOK {
		t.Errorf("%d %v", status, got)
	}
}

// errorMessage returns the message of an answer that is an error.
func errorMessage(answer map[string]any) string {
	object, _ := answer["error"].(map[string]any)
	message, _ := object["message"].(string)
	return message
}

// Equal images are decoded once, and their numbers are there.
func TestMetrics(t *testing.T) {
	_, h := newTestServer(t, testOptions())
	for range 3 {
		if status, got := postJSON(t, h.URL+"/v1/caption", map[string]any{"image": dataURI(square(t, color.Black))}); status != http.StatusOK {
			t.Fatalf("%d %v", status, got)
		}
	}
	postJSON(t, h.URL+"/v1/caption", map[string]any{"image": "AAAA"})
	answer, err := http.Get(h.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`paligemma_http_requests_total{code="200",endpoint="/v1/caption"} 3`,
		`paligemma_http_requests_total{code="415",endpoint="/v1/caption"} 1`,
		`paligemma_requests_rejected_total{reason="unsupported_image"} 1`,
		`paligemma_mm_cache_hits_total{model_name="built-in"} 2`,
		`paligemma_mm_cache_queries_total{model_name="built-in"} 4`,
		`paligemma_prefix_cache_hits_total{model_name="built-in"} 2`,
		`paligemma_time_to_first_token_seconds_count{model_name="built-in"} 3`,
		`paligemma_request_vision_time_seconds_count{model_name="built-in"} 1`,
		`paligemma_request_queue_time_seconds_count{model_name="built-in"} 4`,
		`paligemma_num_requests_running{model_name="built-in"} 0`,
		`process_resident_memory_bytes `,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not there", want)
		}
	}
}

// A client that goes away is counted with the stage that its request was in, and its
// place is free afterwards.
func TestCanceledStages(t *testing.T) {
	o := testOptions()
	o.Parallel = 1
	s, _ := newTestServer(t, o)
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{stageQueue, stageDecode} {
		t.Run(stage, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := &call{task: "generate"}
			c.question.Request.MaxTokens, c.question.Request.IgnoreEOS = 1000, true
			m, err := s.models.take("", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.models.release(m)
			switch stage {
			case stageQueue:
				busy, err := m.queue.join()
				if err != nil {
					t.Fatal(err)
				}
				defer busy.leave()
				if err := busy.enter(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(time.Millisecond, cancel)
			case stageDecode:
				c.text = func(string) error { cancel(); return nil }
			}
			if _, err := s.answer(ctx, c); !errors.Is(err, context.Canceled) {
				t.Fatalf("%v", err)
			}
			if n := testutil.ToFloat64(s.metrics.canceled.WithLabelValues(stage)); n != 1 {
				t.Errorf("counted %v times", n)
			}
			if q := m.queue.state(); stage == stageDecode && q.running+q.waiting > 0 {
				t.Errorf("left are %+v", q)
			}
		})
	}
}
