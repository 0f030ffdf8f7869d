package server

import "net/http"

// guard puts before a handler what holds for all requests.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, s.o.MaxBody)
		next.ServeHTTP(w, r)
	})
}
