package server

import "net/http"

// routeHealth adds what says how the server is.
func (s *Server) routeHealth(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) {
		s.reply(w, r, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /health", s.health)
}

// health answers whether requests are wanted.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		s.reply(w, r, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
		return
	}
	s.reply(w, r, http.StatusOK, map[string]string{"status": "ok"})
}
