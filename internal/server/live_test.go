package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"paligemma/internal/adapter"
	"paligemma/internal/engine"
)

// longText asks a tiny model for a text that takes a while.
const longText = `"max_tokens": 3000, "temperature": 20, "seed": 6, "logprobs": true, "top_logprobs": 100`

// stream begins a request whose answer is read piece by piece.
func stream(t *testing.T, ctx context.Context, url, body string) (*http.Response, *bufio.Reader) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Body.Close() })
	return r, bufio.NewReader(r.Body)
}

// TestPings: a stream shows that it lives while its request waits. What goes wrong then
// is an event, and the stream's end.
func TestPings(t *testing.T) {
	for _, failure := range []error{nil, errors.New("the file is gone")} {
		t.Run(fmt.Sprint(failure), func(t *testing.T) {
			model := builtIn("built-in")
			opening, open := make(chan struct{}), model.Open
			model.Open = func(adapters []adapter.Spec) (*engine.Engine, error) {
				<-opening
				if failure != nil {
					return nil, failure
				}
				return open(adapters)
			}
			o := testOptions(model)
			o.PingEvery = time.Millisecond
			r, lines := stream(t, t.Context(), serve(t, o)+"/v1/chat/completions", user(`"caption en"`, `, "stream": true, "max_tokens": 1`))
			for range 3 {
				if line, empty := readLine(t, lines), readLine(t, lines); line != ": ping" || empty != "" {
					t.Fatalf("%q and %q in place of a ping", line, empty)
				}
			}
			close(opening)
			rest, err := io.ReadAll(lines)
			if err != nil || r.StatusCode != http.StatusOK {
				t.Fatalf("%d %v", r.StatusCode, err)
			}
			all := events(t, string(rest))
			last := all[len(all)-1]
			if want := `{"error":{"message":"the file is gone","type":"server_error","param":null,"code":"failed"}}`; failure != nil && (len(all) != 1 || last != want) {
				t.Errorf("the events are %q, want %s", all, want)
			}
			if failure == nil && last != "[DONE]" {
				t.Errorf("the last event is %s", last)
			}
		})
	}
}

// TestErrorAfterText: what goes wrong in the middle of a text is its last piece.
func TestErrorAfterText(t *testing.T) {
	for _, c := range []struct{ name, path, body, begin, want string }{
		{"chat", "/v1/chat/completions", user(`"x"`, `, "stream": true, `+longText), "data: {", `data: {"error":{"message":"the engine is closed","type":"server_error","param":null,"code":"closing"}}` + "\n\n"},
		{"Ollama", "/api/generate", `{"prompt": "x", "options": {"num_predict": 3000, "temperature": 20, "seed": 6}}`, `{"model"`, `{"error":"the engine is closed"}` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			model := tinyModel(t, "pg1-tiny")
			engines, open := make(chan *engine.Engine, 1), model.Open
			model.Open = func(adapters []adapter.Spec) (*engine.Engine, error) {
				e, err := open(adapters)
				engines <- e
				return e, err
			}
			s, err := New(testOptions(model)) // not closed: its engine is
			if err != nil {
				t.Fatal(err)
			}
			h := httptest.NewServer(s.Handler())
			defer h.Close()
			_, lines := stream(t, t.Context(), h.URL+c.path, c.body)
			if line := readLine(t, lines); !strings.HasPrefix(line, c.begin) {
				t.Fatalf("the first line is %q", line)
			}
			(<-engines).Close()
			rest, err := io.ReadAll(lines)
			if text := string(rest); err != nil || !strings.HasSuffix(text, c.want) || strings.Count(text, `{"error"`) != 1 {
				t.Errorf("the end is %q (%v)", text[max(0, len(text)-300):], err)
			}
		})
	}
}

// TestClientGone: a client that goes away at any moment leaves nothing behind.
func TestClientGone(t *testing.T) {
	o := testOptions(tinyModel(t, "pg1-tiny"))
	o.Parallel, o.MaxQueue = 1, 100 // a place that stayed taken would stop everything
	url := serve(t, o)
	ask := func() string {
		_, text := post(t, url+"/v1/chat/completions", user(`"x"`, `, "max_tokens": 5`))
		return regexpIDs.ReplaceAllString(text, "_")
	}
	want := ask()
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			path, body := "/v1/chat/completions", chatAbout(t, "images/scene.png", "x", `"stream": true, `+longText)
			if i%2 == 0 {
				path, body = "/api/generate", `{"prompt": "x", "options": {"num_predict": 3000, "temperature": 20, "seed": 6}}`
			}
			request, _ := http.NewRequestWithContext(ctx, http.MethodPost, url+path, strings.NewReader(body))
			if i%3 == 0 { // in the queue, perhaps
				time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
			}
			r, err := http.DefaultClient.Do(request)
			if err != nil {
				return
			}
			defer r.Body.Close()
			_, _ = io.ReadAtLeast(r.Body, make([]byte, 1000), 1000)
			cancel() // while it is decoded
		})
	}
	wg.Wait()
	if got := ask(); got != want {
		t.Errorf("afterwards: %s\nbefore: %s", got, want)
	}
	waitForGoroutines(t, before)
}

// waitForGoroutines waits until there are no more goroutines than before.
func waitForGoroutines(t *testing.T, before int) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
	}
}

// TestClientGoneEarly: a client that goes away while the model is opened is not waited
// for, whatever it asked.
func TestClientGoneEarly(t *testing.T) {
	model := builtIn("built-in")
	opening, done, open := make(chan struct{}, 1), make(chan struct{}), model.Open
	model.Open = func(adapters []adapter.Spec) (*engine.Engine, error) {
		opening <- struct{}{}
		<-done
		return open(adapters)
	}
	url := serve(t, testOptions(model))
	go func() { _, _ = http.Post(url+"/api/generate", "", strings.NewReader("{}")) }()
	<-opening
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for path, body := range map[string]string{
		"/v1/chat/completions": user(`"x"`, ``), "/v1/completions": `{"prompt": ["x", "y"], "stream": true}`,
		"/api/chat": `{"messages": []}`, "/api/generate": `{"prompt": "x"}`, "/api/show": `{}`,
	} {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			request, _ := http.NewRequestWithContext(ctx, http.MethodPost, url+path, strings.NewReader(body))
			if _, err := http.DefaultClient.Do(request); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	wg.Wait()
	waitForGoroutines(t, before)
	close(done)
}

// TestBusy: a full queue refuses requests of each interface in its own words.
func TestBusy(t *testing.T) {
	o := testOptions(tinyModel(t, "pg1-tiny"))
	o.Parallel, o.MaxQueue = 1, 0
	url := serve(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, lines := stream(t, ctx, url+"/v1/chat/completions", user(`"x"`, `, "stream": true, `+longText))
	readLine(t, lines)
	for _, c := range []struct{ path, body, want string }{
		{"/v1/chat/completions", user(`"x"`, `, "stream": true`), `{"error":{"message":"too many requests wait already","type":"rate_limit_error","param":null,"code":"busy"}}`},
		{"/v1/completions", `{"prompt": ["x", "y"]}`, `{"error":{"message":"too many requests wait already","type":"rate_limit_error","param":null,"code":"busy"}}`},
		{"/api/generate", `{"prompt": "x"}`, `{"error":"too many requests wait already"}`},
	} {
		r, got := post(t, url+c.path, c.body)
		if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") != "1" || got != c.want+"\n" {
			t.Errorf("%s: %d, %q: %s", c.path, r.StatusCode, r.Header.Get("Retry-After"), got)
		}
	}
}

// TestSlowReader: a client that does not read is cut off, and its place is free again.
func TestSlowReader(t *testing.T) {
	o := testOptions(tinyModel(t, "pg1-tiny"))
	o.Parallel, o.Patience.Write = 1, 20*time.Millisecond
	address := serve(t, o)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	body := user(`"x"`, `, "stream": true, `+longText)
	fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	begun := bufio.NewReader(conn)
	if line := readLine(t, begun); !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Fatal(line)
	}
	// Its place is the only one. The text is larger than what the system holds for a
	// connection: it cannot have come to its end.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if r, _ := stream(t, ctx, address+"/v1/chat/completions", user(`"x"`, `, "max_tokens": 2`)); r.StatusCode != http.StatusOK {
		t.Errorf("the next request: %d", r.StatusCode)
	}
}
