package server

import "net/http"

// guard puts before a handler what holds for all requests. The last in the list sees a
// request first.
func (s *Server) guard(next http.Handler) http.Handler {
	for _, before := range []func(http.Handler) http.Handler{
		s.checkKey, s.checkOrigin, s.checkHost, s.limitBody, harden, s.record,
	} {
		next = before(next)
	}
	return next
}

// harden sets headers that keep browsers from making something else of an answer. The
// page sets a policy for itself.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
