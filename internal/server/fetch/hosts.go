package fetch

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	anyHost   = "*"
	httpsPort = "443"
)

// host is where pictures may be downloaded from.
type host struct {
	name string // in lower case; with a dot at its start: all names below it; "*": any
	port string
}

// hosts are where pictures may be downloaded from.
type hosts []host

// CheckHost returns what is wrong with a host that pictures may be downloaded from: a
// name, a name with *. before it for all names below it, an address, or * for any;
// with or without a port.
func CheckHost(text string) error {
	_, err := parseHost(text)
	return err
}

func parseHost(text string) (host, error) {
	if strings.Contains(text, "/") {
		return host{}, errors.New("want the name of a host alone, without https:// and a path")
	}
	name, port := text, httpsPort
	if head, tail, err := net.SplitHostPort(text); err == nil {
		name, port = head, tail
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return host{}, errors.New("want a port of 1 to 65535")
		}
	}
	if name == anyHost {
		return host{anyHost, port}, nil
	}
	below, wild := strings.CutPrefix(name, "*.")
	clean, err := cleanHost(below)
	if err != nil {
		return host{}, err
	}
	a, err := netip.ParseAddr(clean)
	switch isAddress := err == nil; {
	case isAddress && wild:
		return host{}, errors.New("an address has nothing below it")
	case isAddress && !Public(a):
		return host{}, errors.New("pictures come from public addresses only")
	case wild:
		clean = "." + clean
	}
	return host{clean, port}, nil
}

// allow reports whether pictures may come from a port of a host, as cleanHost has it.
func (all hosts) allow(name, port string) bool {
	return slices.ContainsFunc(all, func(h host) bool {
		if h.port != port {
			return false
		}
		return h.name == anyHost || h.name == name || h.name[0] == '.' && strings.HasSuffix(name, h.name)
	})
}

// cleanHost returns a host as it is compared: in lower case and without a dot at its
// end. What programs read in different ways is refused, such as 127.1, 0x7f000001 or
// letters that look like others.
func cleanHost(text string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if inner, ok := strings.CutPrefix(name, "["); ok {
		name = strings.TrimSuffix(inner, "]")
	}
	if a, err := netip.ParseAddr(name); err == nil {
		if a.Zone() != "" {
			return "", errors.New("an address with a zone is not public")
		}
		return a.String(), nil
	}
	if len(name) > 253 {
		return "", errors.New("want the name of a host")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool { return !hostRune(r) }) {
			return "", errors.New("want the name of a host (one in other than Latin letters as xn--…)")
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return "", errors.New("want an address with four numbers, as 192.0.2.1")
	}
	return name, nil
}

func hostRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
