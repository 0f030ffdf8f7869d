package fetch

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// errPrivate is the error of an address that is not public.
var errPrivate = errors.New("its address is not public")

// global is where the public addresses of IPv6 are. All others that reach an IPv4
// address or this machine lie elsewhere: mapped and compatible ones (::/96,
// ::ffff:0:0/96), those of NAT64 (64:ff9b::/96, 64:ff9b:1::/48), unique local,
// link-local, site-local and multicast ones.
var global = netip.MustParsePrefix("2000::/3")

// special are the addresses that IANA's registries of special-purpose addresses list as
// not globally reachable, and some that lead elsewhere than they seem to.
var special = prefixes(
	"0.0.0.0/8",         // this network, and the unspecified address
	"10.0.0.0/8",        // private
	"100.64.0.0/10",     // shared (CGNAT), and Alibaba's metadata
	"127.0.0.0/8",       // loopback
	"168.63.129.16/32",  // Azure's services for its machines
	"169.254.0.0/16",    // link-local, and most clouds' metadata
	"172.16.0.0/12",     // private
	"192.0.0.0/24",      // protocol assignments, and Oracle's metadata
	"192.0.2.0/24",      // documentation
	"192.88.99.0/24",    // 6to4 relays
	"192.168.0.0/16",    // private
	"198.18.0.0/15",     // benchmarks
	"198.51.100.0/24",   // documentation
	"203.0.113.0/24",    // documentation
	"224.0.0.0/3",       // multicast, reserved, broadcast
	"2001::/23",         // protocol assignments: Teredo, ORCHID and others
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4, with an IPv4 address in it
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
	"3ffe::/16",         // 6bone, given back
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// Public reports whether an address is one of the public internet.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !global.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// dialed refuses to dial an address that is not public. It is called with what a name
// was resolved to, just before the connection is made: what the name resolves to at
// another time does not matter.
func dialed(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", errPrivate, address)
	}
	if !Public(a.Addr()) {
		return errPrivate
	}
	return nil
}
