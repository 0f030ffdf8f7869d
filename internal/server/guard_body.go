package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"paligemma/internal/result"
	"paligemma/internal/units"
)

// minRate is how fast a body has to come after Patience.Body, in bytes a second.
const minRate = 4 << 10

// limitBody bounds the bytes of a request, and how slowly they may come.
func (s *Server) limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > s.o.MaxBody {
			s.fail(w, r, s.tooLarge())
			return
		}
		if r.Body != nil && r.Body != http.NoBody {
			b := &body{
				ReadCloser: http.MaxBytesReader(unwrap(w), r.Body, s.o.MaxBody),
				control:    http.NewResponseController(w),
				last:       time.Now().Add(s.o.Patience.Body), tooLarge: s.tooLarge(),
			}
			b.end, b.ends = r.Context().Deadline()
			b.extend() // also for what is left unread, which the HTTP server reads
			r.Body = b
		}
		next.ServeHTTP(w, r)
	})
}

// tooLarge is the error of a request with too many bytes.
func (s *Server) tooLarge() error {
	return &apiError{http.StatusRequestEntityTooLarge, result.CodeTooLarge, "", "the request has more than the limit of " + units.Bytes(s.o.MaxBody)}
}

// body is the body of a request, whose client has to hurry.
type body struct {
	io.ReadCloser
	control  *http.ResponseController
	last     time.Time // when the next byte has to be there
	end      time.Time // of the whole request,
	ends     bool      // if it has one
	tooLarge error
}

// extend sets the deadline of the next read.
func (b *body) extend() {
	deadline := b.last
	if b.ends && b.end.Before(deadline) {
		deadline = b.end
	}
	_ = b.control.SetReadDeadline(deadline)
}

// Read reads some bytes, if they come in time.
func (b *body) Read(p []byte) (int, error) {
	b.extend()
	n, err := b.ReadCloser.Read(p)
	b.last = b.last.Add(time.Duration(n) * time.Second / minRate)
	var large *http.MaxBytesError
	switch {
	case err == nil, err == io.EOF: // where the HTTP server takes the deadline back
	case errors.As(err, &large):
		err = b.tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = &apiError{http.StatusRequestTimeout, result.CodeTimeout, "", "the request came too slowly"}
	default:
		err = &apiError{http.StatusBadRequest, result.CodeInvalid, "", fmt.Sprintf("the request broke off: %v", err)}
	}
	return n, err
}
