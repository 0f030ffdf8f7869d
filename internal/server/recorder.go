package server

import (
	"context"
	"net/http"
	"time"
)

// statusGone is what logs say of a request whose client went away.
const statusGone = 499

// recorder is where an answer is written. It remembers what was, and cuts off clients
// that do not read.
type recorder struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience Patience
	started  time.Time
	status   int // 0: nothing was written
	bytes    int64
}

func newRecorder(w http.ResponseWriter, patience Patience) *recorder {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Time{}) // the one of the connection's last request
	return &recorder{ResponseWriter: w, control: c, patience: patience, started: time.Now()}
}

// Unwrap returns the writer below, for [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader begins the answer.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the answer, if the client reads.
func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	defer w.hurry()()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush sends what was written.
func (w *recorder) Flush() { _ = w.FlushError() }

// FlushError sends what was written, if the client reads.
func (w *recorder) FlushError() error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	defer w.hurry()()
	return w.control.Flush()
}

// hurry bounds how long a write may take, until the function is called that it returns:
// between writes any time may pass.
func (w *recorder) hurry() (end func()) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.patience.Write))
	return func() { _ = w.control.SetWriteDeadline(time.Time{}) }
}

// close bounds how long the client may take to read the rest, which the HTTP server sends
// when it has read what is left of the body.
func (w *recorder) close() {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.patience.Body + w.patience.Write))
}

// shownStatus returns the status for logs.
func (w *recorder) shownStatus(ctx context.Context) int {
	switch {
	case w.status != 0:
		return w.status
	case ctx.Err() != nil:
		return statusGone
	}
	return http.StatusOK
}

// unwrap returns the writer below all of this package.
func unwrap(w http.ResponseWriter) http.ResponseWriter {
	if rec, ok := w.(*recorder); ok {
		return rec.ResponseWriter
	}
	return w
}
