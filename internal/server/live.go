package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// pingEvery is how often an answer shows that it lives, where Options say nothing.
const pingEvery = 15 * time.Second

// liveAnswer is an answer that is written piece by piece. Its header is sent with the
// first piece: until then an error has a status. Any goroutine may write.
type liveAnswer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	ping    []byte // what shows that the answer lives while there is nothing to say; nil: nothing
	every   time.Duration
	cancel  context.CancelCauseFunc // ends the work for it

	mu      sync.Mutex
	started bool
	closed  bool
	err     error // of the first piece that could not be written
	timer   *time.Timer
}

// newLiveAnswer begins an answer of a content type. The caller closes it, and works
// within the context.
func (s *Server) newLiveAnswer(w http.ResponseWriter, r *http.Request, contentType string, ping []byte) (*liveAnswer, context.Context) {
	ctx, cancel := context.WithCancelCause(r.Context())
	a := &liveAnswer{
		w: w, control: http.NewResponseController(w), ping: ping, every: cmp.Or(s.o.PingEvery, pingEvery), cancel: cancel,
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("X-Accel-Buffering", "no") // of nginx
	if ping != nil {
		a.mu.Lock()
		a.timer = time.AfterFunc(a.every, a.sendPing)
		a.mu.Unlock()
	}
	return a, ctx
}

// write writes a piece, and waits until the client's system has it.
func (a *liveAnswer) write(piece []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil && !a.closed {
		a.timer.Reset(a.every)
	}
	return a.send(piece)
}

// send writes a piece. The lock is held.
func (a *liveAnswer) send(piece []byte) error {
	if a.err != nil {
		return a.err
	}
	a.started = true
	_, err := a.w.Write(piece)
	if err == nil {
		if err = a.control.Flush(); errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
	}
	if err != nil {
		a.err = fmt.Errorf("%w: %w", errGone, err)
		a.cancel(a.err)
	}
	return a.err
}

// sendPing shows that the answer lives.
func (a *liveAnswer) sendPing() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed && a.send(a.ping) == nil {
		a.timer.Reset(a.every)
	}
}

// withdraw closes an answer of which nothing was written, and reports whether that is so.
func (a *liveAnswer) withdraw() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.started {
		a.closed = true
	}
	return a.closed
}

// close ends the answer: nothing is written from now on.
func (a *liveAnswer) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.cancel(nil)
}
