package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// request is what logs say of a request, wherever they speak of it.
type request struct {
	id    string // of the client, or made up
	trace string // the trace of traceparent; ""
}

// requestKey is the key of a request in its context.
type requestKey struct{}

// requestOf returns what the context of a request says of it.
func requestOf(ctx context.Context) request {
	r, _ := ctx.Value(requestKey{}).(request)
	return r
}

// contextHandler adds the request that a line is about.
type contextHandler struct{ slog.Handler }

// Handle adds the request to a line.
func (h contextHandler) Handle(ctx context.Context, line slog.Record) error {
	r := requestOf(ctx)
	if r.id != "" {
		line.AddAttrs(slog.String("id", r.id))
	}
	if r.trace != "" {
		line.AddAttrs(slog.String("trace", r.trace))
	}
	return h.Handler.Handle(ctx, line)
}

// WithAttrs returns a handler that adds attributes to each line.
func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup returns a handler that puts attributes into a group.
func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}

// record gives a request its name and its deadline, logs and counts what became of it, and
// survives a panic in its handler.
func (s *Server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), requestKey{}, request{requestID(r.Header.Get("X-Request-Id")), traceID(r.Header.Get("Traceparent"))})
		if s.o.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, s.o.Timeout, errSlow)
			defer cancel()
		}
		r = r.WithContext(ctx)
		w.Header().Set("X-Request-Id", requestOf(ctx).id)
		rec := newRecorder(w, s.o.Patience)
		aborted := s.survive(rec, r, next)
		rec.close()
		s.logRequest(rec, r)
		s.metrics.answered(s.endpoint(r), rec.shownStatus(ctx), time.Since(rec.started))
		if aborted {
			panic(http.ErrAbortHandler) // has the connection closed
		}
	})
}

// survive calls a handler. If it panics, the answer is an error, or, where a part of it
// is on its way, aborted.
func (s *Server) survive(w *recorder, r *http.Request, next http.Handler) (aborted bool) {
	defer func() {
		p := recover()
		switch {
		case p == nil:
			return
		case p != http.ErrAbortHandler:
			s.log.ErrorContext(r.Context(), "panic", "path", shownPath(r), "value", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		if aborted = p == http.ErrAbortHandler || w.status != 0; !aborted {
			s.fail(w, r, &apiError{http.StatusInternalServerError, result.CodeFailed, "", "the server failed; its log has more under the id " + requestOf(r.Context()).id})
		}
	}()
	next.ServeHTTP(w, r)
	return false
}

// logRequest logs what became of a request. What was asked may be in a query, which is
// shown only to who wants to see prompts.
func (s *Server) logRequest(w *recorder, r *http.Request) {
	attrs := []slog.Attr{
		slog.String("method", quote.Line(r.Method, 20)), slog.String("path", shownPath(r)), slog.Int("status", w.shownStatus(r.Context())),
		slog.Int64("bytes", w.bytes), slog.Float64("seconds", float64(time.Since(w.started).Microseconds())/1e6), slog.String("client", client(r)),
	}
	if s.o.Verbose && r.URL.RawQuery != "" {
		attrs = append(attrs, slog.String("query", quote.Line(r.URL.RawQuery, maxShown)))
	}
	level := slog.LevelInfo
	if path := r.URL.Path; path == "/health" || path == "/livez" || path == "/metrics" { // asked every few seconds
		level = slog.LevelDebug
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// client returns where a request comes from.
func client(r *http.Request) string {
	if r.RemoteAddr == "@" || r.RemoteAddr == "" {
		return "unix"
	}
	return r.RemoteAddr
}

// maxShown bounds what is shown of a request, in bytes.
const maxShown = 1000

func shownPath(r *http.Request) string { return quote.Line(r.URL.Path, 2*quote.Max) }

// logCall logs what is asked, for who wants to see prompts.
func (s *Server) logCall(ctx context.Context, c *call) {
	if s.o.Verbose {
		s.log.InfoContext(ctx, "call", "task", c.task, "prompt", quote.Line(c.question.Prompt, maxShown), "pictures", len(c.pictures))
	}
}

// requestID returns the id of a request: that of the client, if it may stand in logs
// and headers.
func requestID(given string) string {
	if given != "" && len(given) <= quote.Max && strings.Trim(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/") == "" {
		return given
	}
	id := make([]byte, 12)
	_, _ = rand.Read(id)
	return hex.EncodeToString(id)
}

// traceID returns the trace of a traceparent header (W3C Trace Context), "" if it is
// malformed.
func traceID(header string) string {
	parts := strings.Split(header, "-")
	if len(parts) < 4 || parts[0] == "ff" || parts[0] == "00" && len(parts) > 4 {
		return ""
	}
	for i, length := range []int{2, 32, 16, 2} {
		if len(parts[i]) != length || strings.Trim(parts[i], "0123456789abcdef") != "" {
			return ""
		}
	}
	if strings.Trim(parts[1], "0") == "" || strings.Trim(parts[2], "0") == "" {
		return ""
	}
	return parts[1]
}
