package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// open reports whether a request is answered without a key: whether the server is
// there, what can be asked, and the page, which has to ask for the key.
func open(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	switch r.URL.Path {
	case "/", "/health", "/livez", "/openapi.json":
		return true
	}
	name, ok := strings.CutPrefix(r.URL.Path, pagePath)
	return ok && !strings.Contains(name, "/")
}

// checkKey refuses requests without a key, where there are keys.
func (s *Server) checkKey(next http.Handler) http.Handler {
	if s.o.Keys == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := givenKey(r)
		if open(r) || matches(given, s.o.Keys()) {
			next.ServeHTTP(w, r)
			return
		}
		message := "the API key is wrong"
		if given == "" {
			message = "an API key is missing: send it as Authorization: Bearer KEY"
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="paligemma"`)
		s.fail(w, r, &apiError{http.StatusUnauthorized, "unauthorized", "", message})
	})
}

// givenKey returns the key that a request brings, "" if it brings none.
func givenKey(r *http.Request) string {
	if scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return r.Header.Get("X-Api-Key")
}

// matches reports whether a key is one of keys. How long it takes depends on neither,
// but on the number of keys and the length of what is given.
func matches(given string, keys []string) bool {
	found, sum := 0, sha256.Sum256([]byte(given))
	for _, key := range keys {
		other := sha256.Sum256([]byte(key))
		found |= subtle.ConstantTimeCompare(sum[:], other[:])
	}
	return found == 1 && given != ""
}
