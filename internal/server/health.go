package server

import "net/http"

// routeHealth adds what says how the server is.
func (s *Server) routeHealth(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) { s.status(w, r, http.StatusOK, "ok") })
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, r *http.Request) {
		s.reply(w, r, http.StatusOK, map[string]string{"version": s.o.Version})
	})
}

// health answers whether requests are wanted.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.draining.Load():
		s.status(w, r, http.StatusServiceUnavailable, "draining")
	case !s.loaded.Load():
		s.status(w, r, http.StatusServiceUnavailable, "loading")
	default:
		s.status(w, r, http.StatusOK, "ok")
	}
}

func (s *Server) status(w http.ResponseWriter, r *http.Request, status int, text string) {
	s.reply(w, r, status, map[string]string{"status": text})
}
