package fetch

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"paligemma/internal/result"
)

// TestPublic goes through the kinds of addresses.
func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"93.184.216.34": true, "1.1.1.1": true, "8.8.8.8": true, "223.255.255.255": true, "172.32.0.1": true, "100.128.0.1": true,
		"2606:4700::1111": true, "2001:4860:4860::8888": true, "2a00:1450::1": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "100.64.0.1": false, "100.100.100.200": false,
		"127.0.0.1": false, "127.1.2.3": false, "169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.0.0.192": false, "192.0.2.1": false, "192.88.99.1": false, "192.168.1.1": false, "198.18.0.1": false,
		"198.51.100.7": false, "203.0.113.9": false, "224.0.0.1": false, "239.255.255.250": false, "240.0.0.1": false,
		"255.255.255.255": false, "168.63.129.16": false,
		"::": false, "::1": false, "::127.0.0.1": false, "::ffff:127.0.0.1": false, "::ffff:8.8.8.8": false,
		"::ffff:0:127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b::808:808": false, "64:ff9b:1::1": false,
		"100::1": false, "2001::1": false, "2001:2::1": false, "2001:20::1": false, "2001:db8::1": false, "2002:7f00:1::": false,
		"2002:808:808::": false, "3fff::1": false, "3ffe::1": false, "5f00::1": false, "fc00::1": false, "fd00:ec2::254": false,
		"fe80::1": false, "fec0::1": false, "ff02::1": false, "4000::1": false,
	} {
		if got := Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %v, want %v", text, got, want)
		}
	}
	if zone := netip.MustParseAddr("2606:4700::1111%eth0"); Public(zone) || Public(netip.Addr{}) {
		t.Error("an address with a zone, or none, is public")
	}
	for _, address := range []string{"127.0.0.1:443", "[::1]:443", "localhost:443", "127.0.0.1", ""} {
		if dialed("tcp", address, nil) == nil {
			t.Errorf("%q is dialed", address)
		}
	}
}

// local is a server of pictures that a fetcher finds under the names of a resolver.
type local struct {
	*httptest.Server
	port   string
	asked  atomic.Int32
	answer func(w http.ResponseWriter, r *http.Request)
}

func startLocal(t *testing.T, answer http.HandlerFunc) *local {
	t.Helper()
	l := &local{}
	l.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.asked.Add(1)
		answer(w, r)
	}))
	l.Config.ErrorLog = log.New(io.Discard, "", 0)
	l.StartTLS()
	t.Cleanup(l.Close)
	_, l.port, _ = net.SplitHostPort(l.Listener.Addr().String())
	return l
}

// use has a fetcher trust the server. Where reach is true, it may dial this machine.
func (l *local) use(f *Fetcher, resolver *net.Resolver, reach bool) {
	roots := x509.NewCertPool()
	roots.AddCert(l.Certificate())
	f.http.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	f.dial.Resolver = resolver
	if reach {
		f.dial.Control = nil
	}
}

// resolver answers all names with addresses, another one each time.
func resolver(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 512)
		for i := 0; ; {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			question := buffer[12:n]
			end := bytes.IndexByte(question, 0) + 5
			answer := append([]byte{buffer[0], buffer[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question[:end]...)
			if binary.BigEndian.Uint16(question[end-4:]) == 1 { // an IPv4 address
				a := netip.MustParseAddr(addresses[min(i, len(addresses)-1)])
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				answer = append(answer, a.AsSlice()...)
				i++
			}
			conn.WriteTo(answer, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestDownload(t *testing.T) {
	picture := bytes.Repeat([]byte("picture"), 10)
	redirects := func(n string, to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if left := strings.TrimPrefix(r.URL.Path, "/"); left != n {
				http.Redirect(w, r, to+left+"x", http.StatusFound)
				return
			}
			w.Write(picture)
		}
	}
	for name, c := range map[string]struct {
		answer     http.HandlerFunc
		code, says string // "": a picture comes
	}{
		"a picture": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Cookie") != "" || r.Header.Get("Accept-Encoding") != "" || r.Header.Get("User-Agent") != "paligemma" {
				w.WriteHeader(http.StatusTeapot)
			}
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			w.Write(picture)
		}, "", ""},
		"three redirects":        {redirects("xxx", "/"), "", ""},
		"four redirects":         {redirects("xxxx", "/"), result.CodeInvalid, "more than 3 times"},
		"endless redirects":      {redirects("none", "/"), result.CodeInvalid, "more than 3 times"},
		"a redirect to http":     {redirects("none", "http://example.org/"), result.CodeInvalid, "https only"},
		"a redirect elsewhere":   {redirects("none", "https://example.org/"), result.CodeInvalid, "example.org"},
		"a redirect to loopback": {redirects("none", "https://127.0.0.1/"), result.CodeInvalid, "127.0.0.1"},
		"a redirect with a user": {redirects("none", "https://a:b@pictures.example/"), result.CodeInvalid, "password"},
		"a redirect to a file":   {redirects("none", "file:///etc/passwd"), result.CodeInvalid, "https only"},
		"a redirect to port 22":  {redirects("none", "https://pictures.example:22/"), result.CodeInvalid, "pictures.example:22"},
		"a status that is wrong": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }, result.CodeUnreadable, "answered 404"},
		"an answer of a part":    {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(206); w.Write(picture) }, result.CodeUnreadable, "answered 206"},
		"a length that is too big": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "101")
			w.Write(make([]byte, 101))
		}, result.CodeTooLarge, "more than the limit"},
		"an endless picture": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 10)); err != nil {
					return
				}
			}
		}, result.CodeTooLarge, "more than the limit"},
		"a picture that stops": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write(picture)
		}, result.CodeUnreadable, "unexpected EOF"},
		"an endless header": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", maxHeader+1000))
		}, result.CodeUnreadable, "pictures.example"},
		"a drip": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, result.CodeUnreadable, "took longer than 500ms"},
		"silence": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, result.CodeUnreadable, "took longer than 500ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startLocal(t, c.answer)
			timeout := 20 * time.Second
			if strings.Contains(c.says, "500ms") {
				timeout = 500 * time.Millisecond
			}
			host := "pictures.example:" + server.port
			f := fetcher(t, Options{MaxBytes: 100, Hosts: []string{host}, Timeout: timeout})
			server.use(f, resolver(t, "127.0.0.1"), true)
			f.http.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com" // of the certificate
			for range 2 {                                                                 // cookies would come back
				got, err := f.Read(t.Context(), "https://"+host+"/")
				if c.code != "" {
					wantCode(t, err, c.code, c.says)
				} else if !bytes.Equal(got, picture) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
}

// TestDialed goes through ways to this machine, where a server listens that must not be
// asked. All hosts are allowed.
func TestDialed(t *testing.T) {
	server := startLocal(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("secret")) })
	allowed := []string{"*:" + server.port, "*"}
	for name, c := range map[string]struct {
		host      string
		addresses []string // of names
	}{
		"loopback":                {"127.0.0.1", nil},
		"127.1":                   {"127.1", nil},
		"decimal":                 {"2130706433", nil},
		"octal":                   {"0177.0.0.1", nil},
		"hexadecimal":             {"0x7f000001", nil},
		"hexadecimal, dotted":     {"0x7f.0x0.0x0.0x1", nil},
		"zero":                    {"0", nil},
		"unspecified":             {"0.0.0.0", nil},
		"full-width digits":       {"１２７.0.0.1", nil},
		"ideographic full stops":  {"127。0。0。1", nil},
		"with a dot at the end":   {"127.0.0.1.", nil},
		"IPv6 loopback":           {"[::1]", nil},
		"IPv6 unspecified":        {"[::]", nil},
		"IPv4-mapped":             {"[::ffff:127.0.0.1]", nil},
		"IPv4-mapped, hex":        {"[::ffff:7f00:1]", nil},
		"IPv4-compatible":         {"[::127.0.0.1]", nil},
		"NAT64":                   {"[64:ff9b::7f00:1]", nil},
		"6to4":                    {"[2002:7f00:1::]", nil},
		"with a zone":             {"[fe80::1%25lo]", nil},
		"metadata":                {"169.254.169.254", nil},
		"localhost":               {"localhost", []string{"127.0.0.1"}},
		"a name of loopback":      {"pictures.example", []string{"127.0.0.1"}},
		"a name of a private one": {"pictures.example", []string{"10.0.0.1"}},
		"a name of metadata":      {"pictures.example", []string{"169.254.169.254"}},
		"a name of nothing":       {"pictures.example", []string{"0.0.0.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := fetcher(t, Options{Hosts: allowed})
			server.use(f, resolver(t, append(c.addresses, "127.0.0.1")...), false)
			for _, port := range []string{"", ":" + server.port} {
				if got, err := f.Read(t.Context(), "https://"+c.host+port+"/"); err == nil {
					t.Errorf("%q, want an error", got)
				}
			}
		})
	}
	if n := server.asked.Load(); n > 0 {
		t.Errorf("the server was asked %d times", n)
	}
}

// TestRebind: what a name resolved to when somebody looked does not matter.
func TestRebind(t *testing.T) {
	server := startLocal(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("secret")) })
	host := "pictures.example:" + server.port
	f := fetcher(t, Options{Hosts: []string{host}})
	names := resolver(t, "93.184.216.34", "127.0.0.1")
	if a, err := names.LookupHost(t.Context(), "pictures.example"); err != nil || a[0] != "93.184.216.34" {
		t.Fatalf("%v, %v: the first answer is not public", a, err)
	}
	server.use(f, names, false)
	_, err := f.Read(t.Context(), "https://"+host+"/")
	wantCode(t, err, result.CodeInvalid, "is not public")
	if server.asked.Load() > 0 {
		t.Error("the server was asked")
	}
}

// TestRedirectTo: a host that is allowed sends on to another that is allowed, too, and
// whose address is not public.
func TestRedirectTo(t *testing.T) {
	inner := startLocal(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("secret")) })
	outer := startLocal(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://inner.example:"+inner.port+"/", http.StatusFound)
	})
	f := fetcher(t, Options{Hosts: []string{"*.example:" + inner.port, "*.example:" + outer.port}})
	outer.use(f, resolver(t, "127.0.0.1"), false)
	f.http.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com"
	f.dial.Control = func(network, address string, c syscall.RawConn) error {
		if address == outer.Listener.Addr().String() {
			return nil // stands for a public one
		}
		return dialed(network, address, c)
	}
	_, err := f.Read(t.Context(), "https://outer.example:"+outer.port+"/")
	wantCode(t, err, result.CodeInvalid, "is not public")
	if outer.asked.Load() != 1 || inner.asked.Load() != 0 {
		t.Errorf("asked %d and %d times, want 1 and 0", outer.asked.Load(), inner.asked.Load())
	}
}

// TestProxy: the environment's proxy is not asked.
func TestProxy(t *testing.T) {
	transport := fetcher(t, Options{Hosts: []string{anyHost}}).http.Transport.(*http.Transport)
	if transport.Proxy != nil {
		t.Error("a proxy may be asked, which would dial for us")
	}
}

// TestCanceled: a client that goes away ends the download.
func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := startLocal(t, func(w http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	host := "pictures.example:" + server.port
	f := fetcher(t, Options{Hosts: []string{host}})
	server.use(f, resolver(t, "127.0.0.1"), true)
	f.http.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com"
	if _, err := f.Read(ctx, "https://"+host+"/"); err != context.Canceled {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

func TestHosts(t *testing.T) {
	for _, c := range []struct {
		allowed, address string
		want             bool
	}{
		{"example.org", "https://example.org/a.png", true},
		{"example.org", "https://EXAMPLE.ORG./a.png", true},
		{"Example.ORG", "https://example.org:443/a.png", true},
		{"example.org", "https://example.org:8443/a.png", false},
		{"example.org:8443", "https://example.org:8443/a.png", true},
		{"example.org:8443", "https://example.org/a.png", false},
		{"example.org", "https://www.example.org/a.png", false},
		{"example.org", "https://badexample.org/a.png", false},
		{"example.org", "https://example.org.evil.test/a.png", false},
		{"example.org", "https://example.org@evil.test/a.png", false},
		{"example.org", "https://evil.test#@example.org/a.png", false},
		{"example.org", `https://evil.test\@example.org/a.png`, false},
		{"example.org", "http://example.org/a.png", false},
		{"example.org", "https://exаmple.org/a.png", false}, // a Cyrillic letter
		{"*.example.org", "https://www.example.org/a.png", true},
		{"*.example.org", "https://a.b.example.org/a.png", true},
		{"*.example.org", "https://example.org/a.png", false},
		{"*.example.org", "https://badexample.org/a.png", false},
		{"*", "https://example.org/a.png", true},
		{"*", "https://example.org:22/a.png", false},
		{"8.8.8.8", "https://8.8.8.8/a.png", true},
		{"[2606:4700::1111]", "https://[2606:4700:0::1111]/a.png", true},
		{"8.8.8.8", "https://134744072/a.png", false},
	} {
		f := fetcher(t, Options{Hosts: []string{c.allowed}})
		f.dial.Control = func(string, string, syscall.RawConn) error { return errPrivate }
		f.dial.Resolver = resolver(t, "127.0.0.1")
		_, err := f.Read(t.Context(), c.address)
		if got := err != nil && strings.Contains(err.Error(), errPrivate.Error()); got != c.want {
			t.Errorf("%s from %s: %v", c.address, c.allowed, err)
		}
	}
	for _, wrong := range []string{
		"", "*.", "*.*.org", "a*.org", "http://example.org", "example.org/path", "127.0.0.1", "127.1", "10.0.0.1:443", "::1", "[::1]:443",
		"*.8.8.8.8", "example.org:0", "example.org:x", "example.org:70000", "a b", "ä.example", "a..b", strings.Repeat("a", 64) + ".org",
	} {
		if err := CheckHost(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
		if _, err := New(Options{Hosts: []string{wrong}}); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// FuzzHost reads allow lists, and addresses to hold against them.
func FuzzHost(f *testing.F) {
	for _, seed := range [][2]string{
		{"example.org", "https://example.org/"}, {"*.example.org:8443", "https://a.example.org:8443/x"}, {"*", "https://127.1/"},
		{"[2606:4700::1111]:443", "https://[::ffff:7f00:1]/"}, {"8.8.8.8", "https://8.8.8.8@x/"},
	} {
		f.Add(seed[0], seed[1])
	}
	refused := func(string, string, syscall.RawConn) error { return errPrivate }
	f.Fuzz(func(t *testing.T, allowed, address string) {
		h, err := parseHost(allowed)
		if err != nil {
			return
		}
		if h.name == "" || h.port == "" {
			t.Fatalf("%q becomes %+v", allowed, h)
		}
		fetch := fetcher(t, Options{Hosts: []string{allowed}})
		fetch.dial = &net.Dialer{Control: refused}
		u, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil || fetch.check(u.URL) != nil {
			return
		}
		name, err := cleanHost(u.URL.Hostname())
		below := strings.TrimPrefix(h.name, ".")
		if err != nil || h.name != anyHost && name != below && !strings.HasSuffix(name, "."+below) {
			t.Fatalf("%q lets %q through, as %q", allowed, address, name)
		}
		if a, err := netip.ParseAddr(u.URL.Hostname()); err == nil && h.name != anyHost && a.String() != h.name {
			t.Fatalf("%q lets %v through", allowed, a)
		}
	})
}
