package server

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"paligemma/internal/convert"
	"paligemma/internal/demo"
	"paligemma/internal/engine"
	"paligemma/internal/server/fetch"
)

const testdata = "../../testdata"

// demoModel is the built-in model.
func demoModel() Model {
	return Model{
		Name: "built-in",
		Open: func([]string) (*engine.Engine, error) {
			file, err := demo.Open()
			if err != nil {
				return nil, err
			}
			return engine.New(file, engine.Options{Threads: 1})
		},
		Masks: func(e *engine.Engine) (*engine.Masks, error) { return e.NewMasks(nil) },
	}
}

// tinyModel is the f32 file of a tiny checkpoint.
func tinyModel(t testing.TB, name string) Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".gguf")
	if _, err := convert.Convert(t.Context(), filepath.Join(testdata, "checkpoints", name), path, convert.Options{Type: "f32"}); err != nil {
		t.Fatal(err)
	}
	return Model{
		Name:  name,
		Open:  func([]string) (*engine.Engine, error) { return engine.Open(path, engine.Options{Threads: 1}) },
		Masks: func(e *engine.Engine) (*engine.Masks, error) { return e.NewMasks(nil) },
	}
}

// clientOptions are those of a server of models.
func clientOptions(models ...Model) Options {
	return Options{
		Version: "1.2.3", Models: models, Parallel: 4, MaxQueue: 64, ImageCache: 1 << 20, MaxBody: 1 << 20, MaxImages: 3,
		Fetch: fetch.Options{MaxBytes: 1 << 20}, Log: slog.New(slog.DiscardHandler),
	}
}

// serveClients starts a server, and returns its address.
func serveClients(t testing.TB, o Options) string {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return h.URL
}

// post sends a request in JSON.
func post(t testing.TB, url, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	checkExchange(t, r.Request, []byte(body), r, data)
	return r, string(data)
}

// asked sends a request and returns the answer, which must not be an error, as JSON.
func asked(t testing.TB, url, body string) map[string]any {
	t.Helper()
	r, text := post(t, url, body)
	answer := map[string]any{}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%d: %s (%v)", r.StatusCode, text, err)
	}
	return answer
}

// at follows keys and indices into JSON.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				return nil
			}
			v = list[step]
		}
	}
	return v
}

// imageText is a picture as base64.
func imageText(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, path))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}

// scene is a picture that the built-in model knows to describe.
const scene, sceneCaption = "scenes/demo.png", "a small red ring above a medium red circle and a sign"

// chatAbout is a request about a picture; more are members of its JSON.
func chatAbout(t testing.TB, picture, prompt, more string) string {
	t.Helper()
	if more != "" {
		more = ", " + more
	}
	return `{"messages": [{"role": "user", "content": [{"type": "text", "text": ` + quoted(prompt) + `},
		{"type": "image_url", "image_url": {"url": "data:image/png;base64,` + imageText(t, picture) + `"}}]}]` + more + `}`
}

// quoted is a string of JSON.
func quoted(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

// events returns the data of server-sent events.
func events(t testing.TB, stream string) []string {
	t.Helper()
	var out []string
	for _, event := range strings.SplitAfter(stream, "\n\n") {
		data, ok := strings.CutPrefix(event, "data: ")
		if event == "" || event == ": ping\n\n" {
			continue
		}
		if !ok || !strings.HasSuffix(data, "\n\n") || strings.Contains(strings.TrimSuffix(data, "\n\n"), "\n") {
			t.Fatalf("not an event: %q", event)
		}
		out = append(out, strings.TrimSuffix(data, "\n\n"))
	}
	return out
}

// streamedText puts the pieces of a text together, and returns the last one's choice.
func streamedText(t testing.TB, stream string, index int) (text string, last map[string]any) {
	t.Helper()
	all := events(t, stream)
	if all[len(all)-1] != "[DONE]" {
		t.Fatalf("the stream ends with %s", all[len(all)-1])
	}
	for _, data := range all[:len(all)-1] {
		var v map[string]any
		if err := json.Unmarshal([]byte(data), &v); err != nil {
			t.Fatal(err)
		}
		choice, _ := at(v, "choices", 0).(map[string]any)
		if choice == nil || choice["index"] != float64(index) {
			continue
		}
		for _, piece := range []any{at(choice, "delta", "content"), choice["text"]} {
			if piece != nil {
				text += piece.(string)
			}
		}
		last = choice
	}
	return text, last
}

// varying are the parts of an answer that are others each time.
var varying = regexp.MustCompile(`"(id|created|created_at|confidence|[a-z_]*duration)":("[^"]*"|[0-9.e-]+)`)

// regexpIDs are the parts that name an answer and its time.
var regexpIDs = regexp.MustCompile(`"(id|created)":("[^"]*"|[0-9]+)`)

// steady replaces what varies in an answer.
func steady(text string) string { return varying.ReplaceAllString(text, `"$1":_`) }

// readLine reads a line of a stream.
func readLine(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return string(bytes.TrimSuffix(line, []byte("\n")))
}
