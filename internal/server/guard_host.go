package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"paligemma/internal/quote"
)

// checkHost refuses requests for other hosts than this one. A page whose name was made
// to lead here (DNS rebinding) could otherwise read the answers, as it is the same
// origin for the browser.
func (s *Server) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !hostAllowed(r.Host, local, s.o.Hosts) {
			s.fail(w, r, &apiError{http.StatusForbidden, "forbidden", "",
				fmt.Sprintf("this server does not answer for the host %s (its operator may add it with --allowed-host)", quote.Short(r.Host))})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostAllowed reports whether a Host header may be answered that came in at an address
// of this machine: names of this machine and those that are allowed, and addresses. On
// loopback they are those of loopback; elsewhere any, as translation of addresses hides
// the one that was meant, and no name resolves to them. Browsers do not reach unix
// sockets.
func hostAllowed(header string, local net.Addr, allowed []string) bool {
	if local != nil && local.Network() == "unix" || header == "" { // HTTP/1.0
		return true
	}
	name, ok := hostName(header)
	if !ok {
		return false
	}
	for _, pattern := range allowed {
		if hostMatches(pattern, name) {
			return true
		}
	}
	a, err := netip.ParseAddr(name)
	if err != nil {
		return name == "localhost" || strings.HasSuffix(name, ".localhost")
	}
	if a = a.Unmap(); a.IsLoopback() && a.Zone() == "" {
		return true
	}
	at, ok := local.(*net.TCPAddr)
	return ok && !at.IP.IsLoopback() && a.Zone() == ""
}

// hostName returns the host of a Host header in lower case, without a port and a dot at
// its end.
func hostName(header string) (string, bool) {
	name := header
	if head, port, err := net.SplitHostPort(header); err == nil {
		if strings.Trim(port, "0123456789") != "" {
			return "", false
		}
		name = head
		if strings.HasPrefix(header, "[") != strings.Contains(name, ":") {
			return "", false
		}
	} else if inner, ok := strings.CutPrefix(header, "["); ok {
		if name, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(name, ":") {
			return "", false
		}
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name, name != ""
}

// hostMatches reports whether a name is that of a pattern: a name, *. and a name for
// all names below it, or * for any.
func hostMatches(pattern, name string) bool {
	if pattern = strings.ToLower(strings.TrimSuffix(pattern, ".")); pattern == "*" {
		return true
	}
	if below, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(name, below) && len(name) > len(below)
	}
	return pattern == name
}

// CheckHostPattern returns what is wrong with a name of Options.Hosts.
func CheckHostPattern(pattern string) error {
	name := strings.TrimPrefix(pattern, "*.")
	switch {
	case pattern == "*":
		return nil
	case name == "" || strings.ContainsAny(name, "*/@ \t") || strings.HasPrefix(name, "."):
		return errors.New("want a name, *.NAME for those below it, or * for any")
	case strings.Contains(name, ":"):
		if _, err := netip.ParseAddr(name); err != nil {
			return errors.New("want a name without a port")
		}
	}
	return nil
}
