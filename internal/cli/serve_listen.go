package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"paligemma/internal/quote"
	"paligemma/internal/systemd"
)

// listenOptions are the flags that say where a server listens.
type listenOptions struct {
	Host   string
	Port   int
	typed  bool // one of the two
	Socket string
	Cert   string
	Key    string
}

const (
	defaultHost = "127.0.0.1"
	defaultPort = 8080
	maxPort     = 1<<16 - 1
)

func (o *listenOptions) flags(f *pflag.FlagSet) {
	o.addressFlags(f)
	f.StringVar(&o.Cert, "tls-cert", "", "answer over TLS with the certificates in `FILE`, in PEM")
	f.StringVar(&o.Key, "tls-key", "", "and the key in `FILE`")
}

// addressFlags adds the flags that health has, too.
func (o *listenOptions) addressFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Host, "host", defaultHost, "`ADDRESS` of the server")
	f.IntVar(&o.Port, "port", defaultPort, "`PORT` of the server; to listen on 0 takes one that is free")
	f.StringVar(&o.Socket, "socket", "", "unix socket of the server at `PATH`, in place of --host and --port where they are not given")
}

func (o *listenOptions) check() error {
	switch {
	case o.Host == "":
		return usageError{errors.New("--host: want an address, such as 0.0.0.0 for all of this machine")}
	case o.Port < 0 || o.Port > maxPort:
		return usageError{fmt.Errorf("--port %d: want 0 to %d", o.Port, maxPort)}
	case (o.Cert == "") != (o.Key == ""):
		return usageError{errors.New("--tls-cert and --tls-key need each other")}
	}
	return nil
}

// open listens, or takes over the sockets that systemd listens on.
func (o *listenOptions) open() ([]net.Listener, error) {
	all, err := systemd.Listeners()
	if err != nil {
		return nil, dataError{err}
	}
	if o.Socket != "" {
		l, err := listenUnix(o.Socket)
		if err != nil {
			closeListeners(all)
			return nil, fmt.Errorf("--socket %s: %w", quote.Short(o.Socket), err)
		}
		all = append(all, l)
	}
	if len(all) > 0 && !o.typed {
		return all, nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(strings.Trim(o.Host, "[]"), strconv.Itoa(o.Port)))
	if err != nil {
		closeListeners(all)
		return nil, o.explain(err)
	}
	return append(all, l), nil
}

// explain says what to do where nothing can be listened on.
func (o *listenOptions) explain(err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = ": does a server run there already? --port 0 takes a free one"
	case errors.Is(err, syscall.EACCES):
		hint = ": ports below 1024 are for root"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = ": --host wants an address of this machine"
	}
	return fmt.Errorf("listen on %s port %d: %w%s", quote.Short(o.Host), o.Port, systemCause(err), hint)
}

// systemCause returns what is wrong with a socket, without the operation and the address.
func systemCause(err error) error {
	var operation *net.OpError
	if errors.As(err, &operation) {
		err = operation.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

// listenUnix listens on a unix socket, for the user and the group. A socket that is
// there is removed, if nobody answers.
func listenUnix(path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode()&os.ModeSocket == 0:
		return nil, errors.New("there is something else already")
	case err == nil:
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
			return nil, errors.New("a server runs there already")
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, systemCause(err)
		}
		if err := os.Remove(path); err != nil {
			return nil, cause(err)
		}
	}
	old := umask(0o117)
	defer umask(old)
	l, err := net.Listen("unix", path)
	switch {
	case errors.Is(err, syscall.EINVAL):
		return nil, errors.New("the path is too long for a unix socket")
	case err != nil:
		return nil, systemCause(err)
	}
	return l, nil
}

func closeListeners(all []net.Listener) {
	for _, l := range all {
		_ = l.Close()
	}
}

// leaves reports whether other machines reach a listener.
func leaves(l net.Listener) bool {
	a, ok := l.Addr().(*net.TCPAddr)
	return ok && !a.IP.IsLoopback()
}

// checkAccess refuses to open the server to other machines without a key.
func (s *serving) checkAccess(listeners []net.Listener) error {
	for _, l := range listeners {
		if leaves(l) && !s.keys.any() && !s.o.access.NoKey {
			return usageError{fmt.Errorf("other machines reach %s: give a key with --api-key-file FILE or --api-key KEY, or let everybody ask with --insecure-no-key", l.Addr())}
		}
	}
	return nil
}

// hosts are the names that the server answers for, besides localhost: where other
// machines reach it, those of this one, too.
func (s *serving) hosts(listeners []net.Listener) []string {
	names := s.o.access.Hosts
	for _, l := range listeners {
		if !leaves(l) {
			continue
		}
		if name, err := os.Hostname(); err == nil {
			short, _, _ := strings.Cut(name, ".")
			names = append(names, name, short)
		}
		if _, err := netip.ParseAddr(s.o.listen.Host); err != nil {
			names = append(names, s.o.listen.Host)
		}
	}
	return names
}

// secured puts TLS before the listeners that are not on this machine's file system.
func (s *serving) secured(listeners []net.Listener) []net.Listener {
	if s.tls.cert == "" {
		return listeners
	}
	var all []net.Listener
	for _, l := range listeners {
		if l.Addr().Network() == "tcp" {
			l = tls.NewListener(l, s.tls.config())
		}
		all = append(all, l)
	}
	return all
}

// noteAddresses says where the server can be asked.
func (s *serving) noteAddresses(listeners []net.Listener) {
	for _, l := range listeners {
		address := "http://" + l.Addr().String()
		switch {
		case l.Addr().Network() == "unix":
			address = "unix:" + l.Addr().String()
		case s.tls.cert != "":
			address = "https://" + l.Addr().String()
		}
		if s.o.listen.Port == 0 { // only this line says which it is
			s.say("listening on " + address)
		} else {
			s.note("listening on %s", address)
		}
		if leaves(l) && !s.keys.any() {
			s.note("other machines may ask without a key (--insecure-no-key)")
		}
	}
}
