package server

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"paligemma/internal/adapter"
	"paligemma/internal/convert"
	"paligemma/internal/demo"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
	"paligemma/internal/server/fetch"
)

const testdata = "../../testdata"

// scene is a picture that the built-in model knows to describe.
const scene, sceneCaption = "scenes/demo.png", "a small red ring above a medium red circle and a sign"

// testLimits are those of pictures in tests.
var testLimits = preprocess.Limits{MaxPixels: 1 << 24, MaxBytes: 1 << 24}

// builtIn is the built-in model under a name.
func builtIn(name string) Model {
	return Model{
		Name: name,
		Open: func([]adapter.Spec) (*engine.Engine, error) {
			file, err := demo.Open()
			if err != nil {
				return nil, err
			}
			return engine.New(file, engine.Options{Threads: 1, Parallel: 4, PrefixBytes: 1 << 20})
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
		Open:  func([]adapter.Spec) (*engine.Engine, error) { return engine.Open(path, engine.Options{Threads: 1}) },
		Masks: func(e *engine.Engine) (*engine.Masks, error) { return e.NewMasks(nil) },
	}
}

// testOptions are those of a server of models; without any, of the built-in one.
func testOptions(models ...Model) Options {
	if len(models) == 0 {
		models = []Model{builtIn("built-in")}
	}
	return Options{
		Version: "1.2.3", Models: models, Parallel: 4, MaxQueue: 64, ImageCache: 64 << 20, MaxBody: 4 << 20, MaxImages: 3,
		Limits: preprocess.Limits{MaxBytes: 1 << 20, MaxPixels: 1 << 22}, Fetch: fetch.Options{MaxBytes: 1 << 20},
		Log: slog.New(slog.DiscardHandler),
	}
}

// newServer makes a server for one test.
func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// listen has a server answer, and returns its address.
func listen(t testing.TB, s *Server) string {
	t.Helper()
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return h.URL
}

// serve starts a server for one test, and returns its address.
func serve(t testing.TB, o Options) string {
	t.Helper()
	return listen(t, newServer(t, o))
}

// exchange sends a request with a body, reads the answer, and holds both to openapi.json.
func exchange(t testing.TB, r *http.Request, body []byte) (*http.Response, []byte) {
	t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	checkExchange(t, r, body, answer, data)
	return answer, data
}

// post sends a request in JSON.
func post(t testing.TB, url, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, data := exchange(t, r, []byte(body))
	return answer, string(data)
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

// asJSON returns a value as JSON.
func asJSON(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

// imageBytes reads a picture of testdata.
func imageBytes(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// imageText returns a picture of testdata as base64.
func imageText(t testing.TB, path string) string {
	t.Helper()
	return base64.StdEncoding.EncodeToString(imageBytes(t, path))
}

// dataURI returns a picture as requests have it.
func dataURI(picture []byte) string {
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture)
}

// pictureJSON is a request about a picture.
func pictureJSON(reference string) string {
	return asJSON(map[string]string{"image": reference})
}

// dial connects to a listener, for at most some minutes.
func dial(t testing.TB, l net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(l.Network(), l.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	return conn
}
