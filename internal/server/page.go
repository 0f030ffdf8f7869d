package server

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"path"
	"time"
)

// pageFiles are the page to try the server on, and what it consists of.
//
//go:embed page
var pageFiles embed.FS

// pageTypes are the types of files by their extension; those of the system may differ.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".jpg":  "image/jpeg",
}

// pagePolicy lets the page use what the server has, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// pagePath begins the paths of what the page consists of.
const pagePath = "/page/"

// routePage adds the page.
func (s *Server) routePage(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.pageFile(w, r, "index.html") })
	mux.HandleFunc("GET "+pagePath+"{name}", func(w http.ResponseWriter, r *http.Request) { s.pageFile(w, r, r.PathValue("name")) })
}

// pageFile answers with a file of the page.
func (s *Server) pageFile(w http.ResponseWriter, r *http.Request, name string) {
	data, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		s.fail(w, r, notFound("", "there is no such page"))
		return
	}
	h := w.Header()
	h.Set("Content-Type", pageTypes[path.Ext(name)])
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	serveEmbedded(w, r, data)
}

// serveEmbedded answers with data of the program, which changes with it only.
func serveEmbedded(w http.ResponseWriter, r *http.Request, data []byte) {
	w.Header().Set("Cache-Control", "no-cache") // ask whether it has changed
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}
