package server

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/draw"
	"paligemma/internal/drawing"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

// streamed is what came in a stream.
type streamed struct {
	deltas string
	kinds  []string
	last   map[string]any
}

// readEvents reads the events of a stream.
func readEvents(t *testing.T, data []byte) (s streamed) {
	t.Helper()
	for block := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n\n"), "\n\n") {
		kind, body, ok := strings.Cut(block, "\n")
		body, data := strings.CutPrefix(body, "data: ")
		if kind, ok = strings.CutPrefix(kind, "event: "); !ok || !data {
			t.Fatalf("event %q", block)
		}
		s.last = nil
		if err := json.Unmarshal([]byte(body), &s.last); err != nil {
			t.Fatalf("%v: %q", err, body)
		}
		checkEvents(t, kind, s.last)
		if kind == "delta" {
			s.deltas += s.last["delta"].(string)
			if len(s.kinds) > 0 && s.kinds[len(s.kinds)-1] == kind {
				continue
			}
		}
		s.kinds = append(s.kinds, kind)
	}
	return s
}

// Text comes piece by piece, and is that of the answer.
func TestTaskStream(t *testing.T) {
	for _, c := range []struct {
		name, task, body string
		accept           string
		kinds            []string
	}{
		{"stream", "caption", `{"image": "@", "stream": true}`, "", []string{"delta", "result"}},
		{"accept", "caption", `{"image": "@"}`, "text/event-stream", []string{"delta", "result"}},
		{"objects", "detect", `{"image": "@", "objects": ["ring"], "stream": true}`, "*/*", []string{"delta", "result"}},
		{"repeats are taken back", "detect", `{"image": "@", "objects": ["ring"], "stop_repeats": true, "stream": true}`, "", []string{"result"}},
		{"beams", "ocr", `{"image": "@", "beams": 2, "stream": true}`, "", []string{"result"}},
		{"choices", "vqa", `{"image": "@", "prompt": "a", "choices": ["a", "b"], "stream": true}`, "", []string{"result"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := jsonCase(t, c.task, c.body)
			request.header = map[string]string{"Accept": c.accept}
			resp, data := request.send(t)
			if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
				t.Fatalf("Content-Type %q: %s", got, data)
			}
			s := readEvents(t, data)
			if !slices.Equal(s.kinds, c.kinds) {
				t.Fatalf("events %v, want %v", s.kinds, c.kinds)
			}
			if s.kinds[0] == "delta" && s.deltas != s.last["text"] {
				t.Errorf("deltas %q, text %q", s.deltas, s.last["text"])
			}
			plain := jsonCase(t, c.task, strings.Replace(c.body, `, "stream": true`, "", 1)).answer(t)
			delete(s.last, "timings")
			if asJSON(s.last) != asJSON(plain) {
				t.Errorf("the stream ends with %s, want %s", asJSON(s.last), asJSON(plain))
			}
		})
	}
}

// What goes wrong before the stream begins is an answer; later it is an event.
func TestTaskStreamErrors(t *testing.T) {
	resp, data := jsonCase(t, "ocr", `{"image": "AAAA", "stream": true}`).send(t)
	if resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("status %d: %s", resp.StatusCode, data)
	}
	s, e := newServer(t, testOptions()), &endpoints[slices.IndexFunc(endpoints, func(e endpoint) bool { return e.name == "detect" })]
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/detect", bytes.NewReader(jsonCase(t, "", `{"image": "@", "objects": ["ring"]}`).body))
	in, err := s.readTask(r, e)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.newCall(e, in)
	if err != nil {
		t.Fatal(err)
	}
	c.question.OnObjects = func(*engine.Objects) error { return context.DeadlineExceeded }
	w := httptest.NewRecorder()
	s.streamTask(w, r, c)
	got := readEvents(t, w.Body.Bytes())
	if w.Code != http.StatusOK || !slices.Equal(got.kinds, []string{"delta", "error"}) || got.last["error"].(map[string]any)["code"] != "timeout" {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// A drawing is what --draw makes.
func TestTaskDrawing(t *testing.T) {
	for _, c := range []struct{ task, body, accept, kind string }{
		{"detect", `{"image": "@", "objects": ["ring", "star"]}`, "image/png", "image/png"},
		{"segment", `{"image": "@", "objects": ["circle"]}`, "image/*;q=0.9, application/json;q=0.1", "image/png"},
		{"segment", `{"image": "@", "objects": ["circle"]}`, "IMAGE/JPEG", "image/jpeg"},
		{"parse", `{"image": "@", "text": "<loc0000><loc0000><loc1000><loc0512> cat"}`, "image/png", "image/png"},
	} {
		t.Run(c.task+" "+c.kind, func(t *testing.T) {
			request := jsonCase(t, c.task, c.body)
			answer := request.answer(t)
			request.header = map[string]string{"Accept": c.accept}
			resp, data := request.send(t)
			if got := resp.Header.Get("Content-Type"); got != c.kind {
				t.Fatalf("Content-Type %q: %s", got, data[:min(len(data), 300)])
			}
			if _, kind, err := image.DecodeConfig(bytes.NewReader(data)); err != nil || "image/"+kind != c.kind {
				t.Errorf("%s, %v", kind, err)
			}
			if c.kind == "image/png" && !bytes.Equal(data, drawnAlone(t, answer["text"].(string), c.task == "segment")) {
				t.Error("it is not the drawing of the text")
			}
		})
	}
}

// drawnAlone draws the objects of a text.
func drawnAlone(t *testing.T, text string, masks bool) []byte {
	t.Helper()
	d, err := drawing.New(imageBytes(t, scene), preprocess.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	options := engine.ObjectOptions{Size: d.Image.Bounds().Size(), OnMask: d.Mask}
	if masks {
		e, err := builtIn("").Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if options.Masks, err = e.NewMasks(nil); err != nil {
			t.Fatal(err)
		}
		defer options.Masks.Close()
	}
	found, err := engine.FindObjects(t.Context(), text, options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Objects(&found); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := draw.Encode(&b, d.Image, draw.PNG); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A form of answer that a task does not have is refused.
func TestTaskAccept(t *testing.T) {
	for _, c := range []struct {
		name, task, body, accept string
		status                   int
		says                     string
	}{
		{"a caption draws nothing", "caption", `{"image": "@"}`, "image/png", 406, "draws nothing"},
		{"a score does not stream", "score", `{"prompt": "a", "suffixes": ["a"]}`, "text/event-stream", 406, "no text"},
		{"nothing to draw on", "parse", `{"text": "a", "size": "1x1"}`, "image/png", 400, "drawn on"},
		{"browsers", "ocr", `{"image": "@"}`, "text/html,application/xhtml+xml,*/*;q=0.8", 200, `"task":"ocr"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := jsonCase(t, c.task, c.body)
			request.header = map[string]string{"Accept": c.accept}
			resp, data := request.send(t)
			if resp.StatusCode != c.status || !strings.Contains(string(data), c.says) {
				t.Errorf("status %d: %s", resp.StatusCode, data)
			}
		})
	}
}

// Labels that no font has are in a header.
func TestLegend(t *testing.T) {
	for _, c := range []struct {
		name   string
		legend []draw.LegendEntry
		want   string
	}{
		{"none", nil, ""},
		{"other scripts", []draw.LegendEntry{{Number: 1, Label: "猫"}, {Number: 2, Label: `"😀"`}}, `{"1":"\u732b","2":"\"\ud83d\ude00\""}`},
		{"too long", []draw.LegendEntry{{Number: 1, Label: "a"}, {Number: 2, Label: strings.Repeat("a", 5000)}}, `{"1":"a"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := legendOf(c.legend); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// A seed is used as it is, and drawn where there is none.
func TestTaskSeed(t *testing.T) {
	s := newServer(t, testOptions())
	e := &endpoints[slices.IndexFunc(endpoints, func(e endpoint) bool { return e.name == "generate" })]
	seed := func(body string) uint64 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/generate", strings.NewReader(body))
		in, err := s.readTask(r, e)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.newCall(e, in)
		if err != nil {
			t.Fatal(err)
		}
		return c.question.Request.Sampling.Seed
	}
	if got := seed(`{"prompt": "", "temperature": 1, "seed": 18446744073709551615}`); got != 1<<64-1 {
		t.Errorf("seed %d", got)
	}
	if a, b := seed(`{"prompt": "", "temperature": 1}`), seed(`{"prompt": "", "temperature": 1}`); a == b {
		t.Errorf("seed %d twice", a)
	}
}
