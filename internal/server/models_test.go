package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"paligemma/internal/adapter"
	"paligemma/internal/engine"
)

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

// Models are opened when they are asked for, once, closed when nobody has asked for
// them in a while, and opened again.
func TestKeepAlive(t *testing.T) {
	var opens atomic.Int32
	o := testOptions(builtIn("a"), builtIn("b"))
	open := o.Models[0].Open
	o.Models[0].Open = func(adapters []adapter.Spec) (*engine.Engine, error) {
		opens.Add(1)
		return open(adapters)
	}
	o.KeepAlive = time.Millisecond
	s := newServer(t, o)
	url := listen(t, s) + "/v1/caption"
	body := asJSON(map[string]string{"model": "a", "image": dataURI(square(t, color.NRGBA{255, 0, 0, 255}))})
	if opens.Load() != 0 {
		t.Error("a model was opened before anybody asked for it")
	}
	var first string
	for n := int32(1); n <= 2; n++ {
		text, _ := asked(t, url, body)["text"].(string)
		if text == "" || first != "" && text != first {
			t.Fatalf("%q, before %q", text, first)
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
	two := testOptions(builtIn("a"), builtIn("b"))
	adapted := testOptions()
	adapted.Models[0].Adapters = []Adapter{{Name: "x"}, {Name: "y"}}
	for _, c := range []struct {
		name    string
		options Options
		model   string
		lora    []string
		found   string // the model; "": none
		status  int    // where there is none
	}{
		{"no name", two, "", nil, "a", 0},
		{"the second", two, "b", nil, "b", 0},
		{"unknown", two, "c", nil, "", http.StatusNotFound},
		{"one model", one, "gpt-4o", nil, "built-in", 0},
		{"an adapter that nobody offers", one, "", []string{"x"}, "", http.StatusNotFound},
		{"adapters", adapted, "", []string{"x", "y"}, "built-in", 0},
		{"an adapter twice", adapted, "", []string{"x", "y", "x"}, "", http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.options)
			m, _, err := s.models.take(c.model, c.lora)
			if c.found == "" {
				if status, _ := statusOf(err); err == nil || status != c.status {
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

// A model whose time runs out twice, while a request comes and goes, is closed once.
func TestExpireTwice(t *testing.T) {
	s := newServer(t, testOptions())
	m, _, err := s.models.take("", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.models.release(m)
	for range 2 {
		s.models.expire(m)
	}
}

// A request whose time is over is counted with the stage that it was in.
func TestTimeoutStage(t *testing.T) {
	s := newServer(t, testOptions())
	ctx, cancel := context.WithTimeoutCause(t.Context(), 0, errSlow)
	defer cancel()
	if _, err := s.answer(ctx, &call{task: "generate"}); err != errSlow {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(s.metrics.canceled.WithLabelValues(stageQueue)); n != 1 || testutil.CollectAndCount(s.metrics.rejected) != 0 {
		t.Errorf("counted %v times", n)
	}
}

// A model that cannot be opened is an error for who asks, and is tried again.
func TestOpenFails(t *testing.T) {
	o := testOptions()
	works := builtIn("built-in")
	fails := true
	o.Models[0].Open = func(adapters []adapter.Spec) (*engine.Engine, error) {
		if fails {
			return nil, &engine.ModelError{Err: errors.New("model.gguf: it is gone")}
		}
		return works.Open(adapters)
	}
	url, body := serve(t, o)+"/v1/caption", pictureJSON(dataURI(square(t, color.Black)))
	if r, got := post(t, url, body); r.StatusCode != http.StatusInternalServerError || !strings.Contains(got, "it is gone") {
		t.Errorf("%d %s", r.StatusCode, got)
	}
	fails = false
	asked(t, url, body)
}

// Equal images are decoded once, and their numbers are there.
func TestMetrics(t *testing.T) {
	url := serve(t, testOptions())
	tokens := 0 // of the prompt
	for range 3 {
		answer := asked(t, url+"/v1/caption", pictureJSON(dataURI(square(t, color.Black))))
		tokens = int(at(answer, "timings", "prefill_tokens").(float64))
	}
	post(t, url+"/v1/caption", pictureJSON("AAAA"))
	answer, err := http.Get(url + "/metrics")
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
		fmt.Sprintf(`paligemma_prefix_cache_hits_total{model_name="built-in"} %d`, 2*tokens),
		fmt.Sprintf(`paligemma_prefix_cache_queries_total{model_name="built-in"} %d`, 3*tokens),
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
	s := newServer(t, o)
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{stageQueue, stageDecode} {
		t.Run(stage, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := &call{task: "generate"}
			c.question.Request.MaxTokens, c.question.Request.IgnoreEOS = 1000, true
			m, _, err := s.models.take("", nil)
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
