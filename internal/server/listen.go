package server

import (
	"cmp"
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Patience is how long clients may take. Zeros become [DefaultPatience].
type Patience struct {
	Header time.Duration // for a request's header, and the handshake of TLS
	Body   time.Duration // for a body, besides what it takes at 4 KiB a second
	Write  time.Duration // to read a part of an answer
	Idle   time.Duration // between two requests
	Begin  time.Duration // to begin a request, once others wait for the connection's place
	Drop   time.Duration // to read the error, once the time to shut down is over
}

// DefaultPatience is the patience of a server.
var DefaultPatience = Patience{Header: 10 * time.Second, Body: 20 * time.Second, Write: 30 * time.Second, Idle: time.Minute, Begin: time.Second / 2, Drop: 2 * time.Second}

// orDefault returns a patience without zeros.
func (p Patience) orDefault() Patience {
	d := DefaultPatience
	return Patience{cmp.Or(p.Header, d.Header), cmp.Or(p.Body, d.Body), cmp.Or(p.Write, d.Write), cmp.Or(p.Idle, d.Idle), cmp.Or(p.Begin, d.Begin), cmp.Or(p.Drop, d.Drop)}
}

const (
	maxHeader  = 64 << 10 // bytes of a request's header
	maxStreams = 100      // of an HTTP/2 connection
)

// errClosing and errSlow are what requests end with that take too long.
var (
	errClosing = &apiError{http.StatusServiceUnavailable, "closing", "", "the server is closing"}
	errSlow    = &apiError{http.StatusGatewayTimeout, "timeout", "", "the request took longer than this server allows (--timeout)"}
)

// because returns the error that a request ended with by itself in place of that of its
// context.
func because(ctx context.Context, err error) error {
	var own *apiError
	if (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) && errors.As(context.Cause(ctx), &own) {
		return own
	}
	return err
}

// Serve answers requests on listeners until ctx ends. Those under way then have as
// long as shutdown says to end; what is left gets an error. The error is nil if ctx
// ended.
func (s *Server) Serve(ctx context.Context, shutdown time.Duration, listeners ...net.Listener) error {
	return s.serve(ctx, shutdown, s.Handler(), listeners...)
}

func (s *Server) serve(ctx context.Context, shutdown time.Duration, handler http.Handler, listeners ...net.Listener) error {
	requests, drop := context.WithCancelCause(context.Background())
	defer drop(nil)
	conns := newConnections(s.o.MaxConnections, s.o.Patience.Begin)
	h := &http.Server{
		Handler: handler, ReadHeaderTimeout: s.o.Patience.Header, IdleTimeout: s.o.Patience.Idle, MaxHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams}, DisableGeneralOptionsHandler: true,
		BaseContext: func(net.Listener) context.Context { return requests },
		ConnState:   conns.changed, ErrorLog: log.New(serverLog{s.log}, "", 0),
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- h.Serve(conns.limit(l)) }()
	}
	select {
	case err := <-failed:
		return errors.Join(err, h.Close())
	case <-ctx.Done():
	}
	s.Drain()
	if wait(h, shutdown) {
		return nil
	}
	s.log.Warn("requests under way are given up")
	drop(errClosing)
	if !wait(h, s.o.Patience.Drop) {
		_ = h.Close()
	}
	return nil
}

// wait closes the listeners and idle connections, and waits until the others are. It
// reports whether they are.
func wait(h *http.Server, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return h.Shutdown(ctx) == nil
}

// serverLog is where the HTTP server logs what has no request. Clients that fail are
// nothing to worry about.
type serverLog struct{ log *slog.Logger }

// Write logs a line.
func (l serverLog) Write(line []byte) (int, error) {
	text, level := strings.TrimSpace(string(line)), slog.LevelWarn
	if strings.HasPrefix(text, "http: TLS handshake error") || strings.HasPrefix(text, "http2:") {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "http", "message", text)
	return len(line), nil
}
