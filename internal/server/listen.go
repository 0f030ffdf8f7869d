package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// readHeader bounds the time that a client may take for a request's header.
const readHeader = 10 * time.Second

// Serve answers requests on listeners until ctx ends. Those under way then have as
// long as shutdown says to end; the error is nil if they did.
func (s *Server) Serve(ctx context.Context, shutdown time.Duration, listeners ...net.Listener) error {
	// What takes longer than WriteTimeout sets a deadline of its own: reply, liveAnswer.
	h := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: readHeader, WriteTimeout: s.writeTime()}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- h.Serve(l) }()
	}
	select {
	case err := <-failed:
		return errors.Join(err, h.Close())
	case <-ctx.Done():
	}
	s.Drain()
	end, cancel := context.WithTimeout(context.Background(), shutdown)
	defer cancel()
	if err := h.Shutdown(end); err != nil {
		return errors.Join(err, h.Close())
	}
	return nil
}
