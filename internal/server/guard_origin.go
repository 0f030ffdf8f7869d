package server

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
)

// anyOrigin lets pages of all origins ask.
const anyOrigin = "*"

// CheckOrigin returns what is wrong with an origin of Options.Origins.
func CheckOrigin(origin string) error {
	if origin == anyOrigin {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return errors.New("want an origin such as https://app.example.org, or * for any")
	}
	return nil
}

// checkOrigin refuses what pages of other origins ask to have done, and lets those ask
// that are allowed. Programs other than browsers say nothing of an origin, and may.
func (s *Server) checkOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	for _, origin := range s.o.Origins {
		if origin != anyOrigin {
			_ = protection.AddTrustedOrigin(origin) // CheckOrigin has seen it
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if len(s.o.Origins) > 0 {
			w.Header().Add("Vary", "Origin")
		}
		allowed := origin != "" && s.originAllowed(origin)
		if allowed {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Expose-Headers", "*")
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				answerPreflight(w, r)
				return
			}
		} else if protection.Check(r) != nil {
			s.fail(w, r, &apiError{http.StatusForbidden, "forbidden", "",
				"this server answers no pages of other origins (its operator may allow one with --cors-origin)"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// originAllowed reports whether pages of an origin may ask.
func (s *Server) originAllowed(origin string) bool {
	return slices.Contains(s.o.Origins, anyOrigin) || slices.Contains(s.o.Origins, origin)
}

// answerPreflight tells a browser that a page may ask.
func answerPreflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}
