package server

import (
	_ "embed"
	"net/http"
)

// openAPI describes the interface, in OpenAPI 3.1. A test holds requests and answers
// to it.
//
//go:embed openapi.json
var openAPI []byte

// routeOpenAPI adds the description of the interface.
func (s *Server) routeOpenAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		serveEmbedded(w, r, openAPI)
	})
}
