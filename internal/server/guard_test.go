package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"paligemma/internal/adapter"
	"paligemma/internal/engine"
)

// lines is a log that tests read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// guarded makes a server whose model is never opened, and has it answer a request with
// next. What is logged is returned.
func guarded(t testing.TB, o Options, next http.HandlerFunc) (http.Handler, *lines) {
	t.Helper()
	log := &lines{}
	o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Models == nil {
		o.Models = []Model{{Name: "none", Open: func([]adapter.Spec) (*engine.Engine, error) { return nil, errors.New("no model") }}}
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if next == nil {
		return s.Handler(), log
	}
	return s.guard(next), log
}

func ok(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }

// send asks a handler. The pairs are headers.
func send(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// wantError fails a test unless an answer is an error as OpenAI's clients read them.
func wantError(t *testing.T, w *httptest.ResponseRecorder, status int, says string) {
	t.Helper()
	var body errorBody
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%d %q: %v", w.Code, w.Body, err)
	}
	if w.Code != status || !strings.Contains(body.Error.Message, says) || body.Error.Type == "" {
		t.Errorf("%d %s, want %d: %s", w.Code, w.Body, status, says)
	}
}

func TestKeys(t *testing.T) {
	h, log := guarded(t, Options{Keys: func() []string { return []string{"secret-one", "secret-two"} }}, ok)
	for name, c := range map[string]struct {
		method, target string
		headers        []string
		status         int
	}{
		"bearer":                {"POST", "/v1/caption", []string{"Authorization", "Bearer secret-one"}, 200},
		"the second":            {"POST", "/v1/caption", []string{"Authorization", "bearer  secret-two"}, 200},
		"another header":        {"GET", "/metrics", []string{"X-Api-Key", "secret-one"}, 200},
		"none":                  {"GET", "/metrics", nil, 401},
		"a wrong one":           {"GET", "/metrics", []string{"Authorization", "Bearer secret-three"}, 401},
		"the beginning":         {"GET", "/metrics", []string{"Authorization", "Bearer secret-on"}, 401},
		"more":                  {"GET", "/metrics", []string{"Authorization", "Bearer secret-one1"}, 401},
		"an empty one":          {"GET", "/metrics", []string{"Authorization", "Bearer "}, 401},
		"another scheme":        {"GET", "/metrics", []string{"Authorization", "Basic secret-one"}, 401},
		"without a scheme":      {"GET", "/metrics", []string{"Authorization", "secret-one"}, 401},
		"both in one":           {"GET", "/metrics", []string{"Authorization", "Bearer secret-one secret-two"}, 401},
		"in the query":          {"GET", "/metrics?api_key=secret-one", nil, 401},
		"the page":              {"GET", "/", nil, 200},
		"what it consists of":   {"GET", "/page/script.js", nil, 200},
		"below what it is":      {"GET", "/page/../metrics", nil, 401},
		"what can be asked":     {"GET", "/openapi.json", nil, 200},
		"health":                {"GET", "/health", nil, 200},
		"its head":              {"HEAD", "/livez", nil, 200},
		"to post to health":     {"POST", "/health", nil, 401},
		"below health":          {"GET", "/health/../metrics", nil, 401},
		"health with a slash":   {"GET", "/health/", nil, 401},
		"health with two":       {"GET", "//health", nil, 401},
		"health in percent":     {"GET", "/v1/models/%2e%2e/%2e%2e/health", nil, 401},
		"a preflight of no one": {"OPTIONS", "/metrics", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "GET"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			w := send(h, c.method, c.target, c.headers...)
			if w.Code != c.status {
				t.Errorf("%d, want %d", w.Code, c.status)
			}
			if c.status == 401 {
				wantError(t, w, 401, "API key")
				if w.Header().Get("WWW-Authenticate") == "" {
					t.Error("no WWW-Authenticate")
				}
			}
		})
	}
	if text := log.String(); strings.Contains(text, "secret") {
		t.Errorf("the log has keys: %s", text)
	}
	t.Run("a list that is empty", func(t *testing.T) {
		h, _ := guarded(t, Options{Keys: func() []string { return nil }}, ok)
		wantError(t, send(h, "GET", "/metrics", "Authorization", "Bearer x"), 401, "wrong")
		wantError(t, send(h, "GET", "/metrics"), 401, "missing")
	})
	t.Run("other keys", func(t *testing.T) {
		keys := []string{"old"}
		h, _ := guarded(t, Options{Keys: func() []string { return keys }}, ok)
		if w := send(h, "GET", "/x", "X-Api-Key", "old"); w.Code != 200 {
			t.Errorf("%d", w.Code)
		}
		keys = []string{"new"}
		if w := send(h, "GET", "/x", "X-Api-Key", "old"); w.Code != 401 {
			t.Errorf("%d", w.Code)
		}
	})
}

func TestHostAllowed(t *testing.T) {
	loopback, lan, unix := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4(192, 168, 1, 5)}, &net.UnixAddr{Net: "unix"}
	names := []string{"server", "*.Example.ORG", "2001:db8::5"}
	for _, c := range []struct {
		header string
		local  net.Addr
		want   bool
	}{
		{"localhost", loopback, true}, {"localhost:8080", loopback, true}, {"LocalHost.:8080", loopback, true}, {"a.localhost", loopback, true},
		{"127.0.0.1:8080", loopback, true}, {"127.0.0.2", loopback, true}, {"[::1]:8080", loopback, true}, {"[::1]", loopback, true},
		{"[::ffff:127.0.0.1]:80", loopback, true}, {"", loopback, true},
		{"evil.example", loopback, false}, {"evil.example:8080", loopback, false}, {"localhost.evil.example", loopback, false},
		{"evillocalhost", loopback, false}, {"192.168.1.5", loopback, false}, {"1.2.3.4:8080", loopback, false}, {"127.1", loopback, false},
		{"2130706433", loopback, false}, {"localhost:80x", loopback, false}, {"localhost@evil.example", loopback, false}, {"localhost,evil.example", loopback, false},
		{"[localhost]", loopback, false}, {"[::1", loopback, false}, {"[::1%0]", loopback, false}, {"::1%0", loopback, false}, {"[fe80::1%25eth0]:80", lan, false}, {"[::1]x", loopback, false}, {".", loopback, false}, {":8080", loopback, false},
		{"192.168.1.5:9000", lan, true}, {"10.0.0.9", lan, true}, {"127.0.0.1", lan, true}, {"evil.example", lan, false}, {"localhost", lan, true},
		{"server:9000", lan, true}, {"SERVER", loopback, true}, {"a.example.org", lan, true}, {"example.org", lan, false}, {".example.org", lan, false},
		{"evilexample.org", lan, false}, {"[2001:db8::5]:80", loopback, true}, {"[2001:db8::6]:80", loopback, false},
		{"evil.example", unix, true}, {"evil.example", nil, false},
	} {
		if got := hostAllowed(c.header, c.local, names); got != c.want {
			t.Errorf("%q at %v: %v, want %v", c.header, c.local, got, c.want)
		}
	}
	if !hostAllowed("evil.example", loopback, []string{"*"}) {
		t.Error("* does not allow any")
	}
	for pattern, want := range map[string]bool{
		"*": true, "a": true, "*.a.b": true, "a.b": true, "::1": true, "": false, "*.": false, "*a": false, "a:80": false, "http://a": false, "a*": false, "a b": false, "*.*.a": false, ".a": false,
	} {
		if got := CheckHostPattern(pattern) == nil; got != want {
			t.Errorf("%q is taken: %v", pattern, got)
		}
	}
}

// FuzzHostHeader holds Host headers against what a browser would make of them.
func FuzzHostHeader(f *testing.F) {
	for _, seed := range []string{"localhost:80", "[::1]:1", "127.1", "a.localhost.", "[fe80::1%25lo]", "evil.example:80", "", "[]", ":", "::1", "::1%0"} {
		f.Add(seed)
	}
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	f.Fuzz(func(t *testing.T, header string) {
		if !hostAllowed(header, loopback, nil) || header == "" {
			return
		}
		name, _ := hostName(header)
		if ip := net.ParseIP(name); ip.IsLoopback() || name == "localhost" || strings.HasSuffix(name, ".localhost") {
			return
		}
		t.Fatalf("%q is allowed, as %q", header, name)
	})
}

func TestHosts(t *testing.T) {
	h, _ := guarded(t, Options{}, ok)
	wantError(t, send(h, "GET", "/", "Host", "evil.example"), 403, `"evil.example"`)
	if w := send(h, "GET", "/"); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	h, _ = guarded(t, Options{Hosts: []string{"*.example"}}, ok)
	if w := send(h, "GET", "/", "Host", "good.example"); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	// A host that is wrong is refused before its key is looked at.
	h, _ = guarded(t, Options{Keys: func() []string { return []string{"key"} }}, ok)
	wantError(t, send(h, "GET", "/x", "Host", "evil.example", "X-Api-Key", "key"), 403, "host")
}

func TestOrigins(t *testing.T) {
	const page, other = "https://app.example.org", "https://evil.example"
	for name, c := range map[string]struct {
		origins []string
		method  string
		headers []string
		status  int
		allowed string // the origin that the answer lets read it
	}{
		"curl":                         {nil, "POST", nil, 200, ""},
		"the page here":                {nil, "POST", []string{"Origin", "http://localhost", "Sec-Fetch-Site", "same-origin"}, 200, ""},
		"the page here, old browsers":  {nil, "POST", []string{"Origin", "http://localhost"}, 200, ""},
		"another page":                 {nil, "POST", []string{"Origin", other, "Sec-Fetch-Site", "cross-site"}, 403, ""},
		"another page, old browsers":   {nil, "POST", []string{"Origin", other}, 403, ""},
		"a sandbox":                    {nil, "POST", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, 403, ""},
		"another port of this machine": {nil, "POST", []string{"Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"}, 403, ""},
		"another page reads":           {nil, "GET", []string{"Origin", other, "Sec-Fetch-Site", "cross-site"}, 200, ""},
		"another page's preflight":     {nil, "OPTIONS", []string{"Origin", other, "Access-Control-Request-Method", "POST"}, 200, ""},
		"the page that may":            {[]string{page}, "POST", []string{"Origin", page, "Sec-Fetch-Site", "cross-site"}, 200, page},
		"its preflight":                {[]string{page}, "OPTIONS", []string{"Origin", page, "Access-Control-Request-Method", "POST"}, 204, page},
		"one that may not":             {[]string{page}, "POST", []string{"Origin", other, "Sec-Fetch-Site", "cross-site"}, 403, ""},
		"its preflight, too":           {[]string{page}, "OPTIONS", []string{"Origin", other, "Access-Control-Request-Method", "POST"}, 200, ""},
		"one with a port":              {[]string{page}, "POST", []string{"Origin", page + ":8443"}, 403, ""},
		"any":                          {[]string{"*"}, "POST", []string{"Origin", other, "Sec-Fetch-Site", "cross-site"}, 200, other},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := guarded(t, Options{Origins: c.origins}, ok)
			w := send(h, c.method, "http://localhost/v1/caption", c.headers...)
			if w.Code != c.status || w.Header().Get("Access-Control-Allow-Origin") != c.allowed {
				t.Errorf("%d %v, want %d, %q allowed", w.Code, w.Header(), c.status, c.allowed)
			}
			if (len(c.origins) > 0) != (w.Header().Get("Vary") != "") {
				t.Errorf("Vary: %q", w.Header().Get("Vary"))
			}
		})
	}
	t.Run("a preflight with a key", func(t *testing.T) {
		h, _ := guarded(t, Options{Origins: []string{page}, Keys: func() []string { return []string{"key"} }}, ok)
		w := send(h, "OPTIONS", "/v1/caption", "Origin", page, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,x-stainless-os")
		if w.Code != 204 || w.Header().Get("Access-Control-Allow-Headers") != "authorization,x-stainless-os" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		wantError(t, send(h, "POST", "/v1/caption", "Origin", page), 401, "API key")
	})
	for origin, want := range map[string]bool{
		"*": true, page: true, "http://localhost:3000": true, "app://obsidian.md": true, "chrome-extension://abc": true,
		"": false, "null": false, "app.example.org": false, page + "/": false, page + "/x": false, "https://": false,
	} {
		if got := CheckOrigin(origin) == nil; got != want {
			t.Errorf("%q is taken: %v", origin, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	h, _ := guarded(t, Options{}, ok)
	for _, w := range []*httptest.ResponseRecorder{send(h, "GET", "/"), send(h, "GET", "/", "Host", "evil.example")} {
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("X-Request-Id") == "" {
			t.Errorf("%v", w.Header())
		}
	}
	page, _ := guarded(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
	})
	if got := send(page, "GET", "/").Header()["Content-Security-Policy"]; len(got) != 1 || got[0] != "default-src 'self'" {
		t.Errorf("a page cannot have its own policy: %q", got)
	}
}

func TestRequestID(t *testing.T) {
	h, log := guarded(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if requestOf(r.Context()).id == "" {
			t.Error("no id in the handler")
		}
	})
	if got := send(h, "GET", "/x", "X-Request-Id", "abc-123").Header().Get("X-Request-Id"); got != "abc-123" {
		t.Errorf("%q, want the client's", got)
	}
	seen := map[string]bool{}
	for _, wrong := range []string{"", "a b", "a\nb", `a"`, "ä", strings.Repeat("x", 101)} {
		got := send(h, "GET", "/x", "X-Request-Id", wrong).Header().Get("X-Request-Id")
		if len(got) != 24 || seen[got] {
			t.Errorf("%q becomes %q, want a new one", wrong, got)
		}
		seen[got] = true
	}
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	send(h, "GET", "/x", "Traceparent", "00-"+trace+"-00f067aa0ba902b7-01", "X-Request-Id", "traced")
	if text := log.String(); !strings.Contains(text, "id=traced trace="+trace) || !strings.Contains(text, "id=abc-123") {
		t.Errorf("%s", text)
	}
	for header, want := range map[string]string{
		"00-" + trace + "-00f067aa0ba902b7-01":                   trace,
		"cc-" + trace + "-00f067aa0ba902b7-01-more":              trace, // of a version to come
		"00-" + trace + "-00f067aa0ba902b7-01-more":              "",
		"ff-" + trace + "-00f067aa0ba902b7-01":                   "",
		"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01": "",
		"00-" + trace + "-0000000000000000-01":                   "",
		"00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01":  "",
		"00-" + trace[1:] + "-00f067aa0ba902b7-01":               "",
		"":  "",
		"x": "",
	} {
		if got := traceID(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestLog(t *testing.T) {
	for _, verbose := range []bool{false, true} {
		h, log := guarded(t, Options{Verbose: verbose}, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "12345")
		})
		send(h, "POST", "/v1/caption?prompt=secret")
		text := log.String()
		if want := `msg=request method=POST path=/v1/caption status=418 bytes=5 seconds=`; !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", text, want)
		}
		if strings.Contains(text, "secret") != verbose {
			t.Errorf("verbose is %v: %s", verbose, text)
		}
		send(h, "GET", "/x%0aid=1%1b")
		if text := log.String(); strings.Count(text, "\n") != 2 || strings.Contains(text, "\x1b") {
			t.Errorf("a path forges lines: %q", text)
		}
	}
}

// TestLogCall: prompts are logged for who wants to see them, and nobody else.
func TestLogCall(t *testing.T) {
	for _, verbose := range []bool{false, true} {
		log := &lines{}
		s, err := New(Options{Verbose: verbose, Log: slog.New(slog.NewTextHandler(log, nil)), Models: []Model{{Name: "none", Open: func([]adapter.Spec) (*engine.Engine, error) { return nil, errors.New("no model") }}}})
		if err != nil {
			t.Fatal(err)
		}
		c := &call{task: "generate"}
		c.question.Prompt = "secret"
		if _, err := s.answer(t.Context(), c); err == nil {
			t.Error("no error without a model")
		}
		if strings.Contains(log.String(), "secret") != verbose {
			t.Errorf("verbose is %v: %s", verbose, log)
		}
	}
}

func TestPanic(t *testing.T) {
	h, log := guarded(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			io.WriteString(w, "half of it")
			w.(http.Flusher).Flush()
		}
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path != "/fine" {
			panic("the sky falls")
		}
	})
	server := httptest.NewServer(h)
	defer server.Close()
	get := func(path string) (*http.Response, string, error) {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			return nil, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, string(body), err
	}
	resp, body, err := get("/early")
	if err != nil || resp.StatusCode != 500 || !strings.Contains(body, resp.Header.Get("X-Request-Id")) || strings.Contains(body, "sky") {
		t.Errorf("%v, %s, %v", resp, body, err)
	}
	if text := log.String(); strings.Count(text, "the sky falls") != 1 || !strings.Contains(text, "guard_test.go") || !strings.Contains(text, "status=500") {
		t.Errorf("want one line about the panic, with its stack: %s", text)
	}
	if _, body, err := get("/late"); err == nil {
		t.Errorf("%q ends as if it were whole", body)
	}
	if _, _, err := get("/abort"); err == nil {
		t.Error("want no answer")
	}
	if text := log.String(); strings.Count(text, "msg=panic") != 2 {
		t.Errorf("want two panics: %s", text)
	}
	if resp, _, err := get("/fine"); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v: the server does not go on", resp, err)
	}
}

// TestDeadline: a request that takes too long ends, and the error says why.
func TestDeadline(t *testing.T) {
	var s *Server
	log := slog.New(slog.DiscardHandler)
	stuck := make(chan struct{})
	defer close(stuck)
	s, err := New(Options{Timeout: 20 * time.Millisecond, Log: log, Models: []Model{{Name: "slow", Open: func([]adapter.Spec) (*engine.Engine, error) { <-stuck; return nil, errors.New("late") }}}})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/v1/caption", strings.NewReader(`{"image":"data:,x"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Host = "localhost"
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	wantError(t, w, 504, "--timeout")
	// A client that goes away is no timeout.
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(nil)
	if status, _ := statusOf(because(gone, gone.Err())); status != statusGone {
		t.Errorf("%d", status)
	}
	cancel2 := func() context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errClosing)
		return ctx
	}()
	if status, _ := statusOf(because(cancel2, context.Canceled)); status != 503 {
		t.Errorf("%d", status)
	}
	if err := because(cancel2, io.EOF); err != io.EOF {
		t.Errorf("%v, want the error of its own", err)
	}
}

func TestHealth(t *testing.T) {
	open := make(chan struct{})
	model := builtIn("built-in")
	opens := model.Open
	model.Open = func(adapters []adapter.Spec) (*engine.Engine, error) { <-open; return opens(adapters) }
	s, err := New(Options{Version: "v1.2", Models: []Model{model}, Parallel: 1, Limits: testLimits})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := s.Handler()
	want := func(path string, status int, says string) {
		t.Helper()
		if w := send(h, "GET", path); w.Code != status || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %d %s, want %d %s", path, w.Code, w.Body, status, says)
		}
	}
	want("/health", 503, `{"status":"loading"}`)
	want("/livez", 200, "ok")
	loaded := make(chan error)
	go func() { loaded <- s.Load(t.Context()) }()
	want("/health", 503, "loading")
	answered := make(chan *httptest.ResponseRecorder, 1)
	go func() { // waits for the model
		r := httptest.NewRequest("POST", "/v1/caption", strings.NewReader(`{"image":"`+dataURI(imageBytes(t, scene))+`"}`))
		r.Host = "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		answered <- w
	}()
	close(open)
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	if w := <-answered; w.Code != 200 || !strings.Contains(w.Body.String(), `"text"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	want("/health", 200, `{"status":"ok"}`)
	want("/version", 200, `{"version":"v1.2"}`)
	s.Drain()
	want("/health", 503, "draining")
	want("/livez", 200, "ok")
}
