package server

import (
	"net/http"
	"sync"
	"time"

	"paligemma/internal/result"
)

const (
	pingEvery  = 15 * time.Second // a comment in a stream, so that nobody takes it for dead
	sendWithin = 30 * time.Second // readers that are slower are cut off
)

// events is a response of server-sent events. Its methods may be called from any
// goroutine.
type events struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	done chan struct{} // closed at the end

	mu    sync.Mutex
	began bool
	err   error // of an earlier write
}

// newEvents makes a response that begins with its first event, or before if open is
// called. The caller closes it.
func newEvents(w http.ResponseWriter) *events {
	return &events{w: w, rc: http.NewResponseController(w), done: make(chan struct{})}
}

// open sends the headers: errors after it are events.
func (e *events) open() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.began {
		e.begin()
		_ = e.rc.Flush()
	}
}

// opened reports whether the headers are sent.
func (e *events) opened() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.began
}

// begin sends the headers, and pings from then on. The lock is held.
func (e *events) begin() {
	e.began = true
	h := e.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx
	e.w.WriteHeader(http.StatusOK)
	go e.ping()
}

// ping sends comments until the end.
func (e *events) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = e.write(": ping\n\n")
		case <-e.done:
			return
		}
	}
}

// send sends an event of a kind; kind "" sends data alone.
func (e *events) send(kind string, body any) error {
	data, err := result.Marshal(body)
	if err != nil {
		return err
	}
	text := "data: " + string(data) + "\n\n"
	if kind != "" {
		text = "event: " + kind + "\n" + text
	}
	return e.write(text)
}

// write writes through, to clients that take it in time.
func (e *events) write(text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	if !e.began {
		e.begin()
	}
	_ = e.rc.SetWriteDeadline(time.Now().Add(sendWithin)) // not every connection has one
	if _, e.err = e.w.Write([]byte(text)); e.err == nil {
		e.err = e.rc.Flush()
	}
	return e.err
}

// close ends the pings. The handler returns only then: nothing is written after it.
func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.done)
	if e.err == nil {
		e.err = http.ErrAbortHandler
		_ = e.rc.SetWriteDeadline(time.Time{})
	}
}
