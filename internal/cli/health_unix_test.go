//go:build unix

package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestHealthCommand: what health says of servers that are not well.
func TestHealthCommand(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"loading": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(503)
			io.WriteString(w, `{"status":"loading"}`)
		}, "loading (503)"},
		"something else": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, "answered 200: does something else run there?"},
		"a redirect":     {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://example.org", 302) }, "answered 302"},
		"a long one": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"status":"%s"}`, strings.Repeat("x", 5000))
		}, "answered 200"},
		"steering": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, `{"status":"a\u001b[2Jb"}`)
		}, `a\u001b[2Jb (500)`},
		"silence": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 200ms"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: c.answer}
			go server.Serve(l)
			defer server.Close()
			timeout := "1m"
			if name == "silence" {
				timeout = "200ms"
			}
			out, code := runProgram(t, "health", "--timeout", timeout, l.Addr().String())
			if code != exitFailed || !strings.Contains(out, c.says) || strings.Count(out, "\n") != 1 {
				t.Errorf("%d %q, want %q", code, out, c.says)
			}
		})
	}
}
