package systemd

import (
	"fmt"
	"net"
	"os"
	"paligemma/internal/emulated"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestMain makes this program a service, where it is asked to be one.
func TestMain(m *testing.M) {
	if os.Getenv("SERVICE") != "" {
		os.Exit(service())
	}
	os.Exit(m.Run())
}

// service says which sockets it got and answers a connection to each.
func service() int {
	if os.Getenv("LISTEN_PID") == "own" { // as a shell's exec would have it
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	all, err := Listeners()
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Printf("%d sockets, LISTEN_FDS=%q\n", len(all), os.Getenv("LISTEN_FDS"))
	for _, l := range all {
		conn, err := l.Accept()
		if err != nil {
			fmt.Println("error:", err)
			return 1
		}
		fmt.Fprint(conn, l.Addr().Network())
		conn.Close()
	}
	return 0
}

// start starts the service with files that it inherits.
func start(t *testing.T, pid, fds string, files ...*os.File) (output func() string) {
	t.Helper()
	cmd := emulated.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SERVICE=1", "LISTEN_PID="+pid, "LISTEN_FDS="+fds)
	cmd.ExtraFiles = files
	var b strings.Builder
	cmd.Stdout, cmd.Stderr = &b, &b
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() string { _ = cmd.Wait(); return b.String() }
}

func TestListeners(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	file := func(s interface{ File() (*os.File, error) }) *os.File {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	t.Run("two", func(t *testing.T) {
		output := start(t, "own", "2", file(tcp.(*net.TCPListener)), file(unix.(*net.UnixListener)))
		for _, l := range []net.Listener{tcp, unix} {
			conn, err := net.Dial(l.Addr().Network(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			buffer := make([]byte, 10)
			n, _ := conn.Read(buffer)
			if conn.Close(); string(buffer[:n]) != l.Addr().Network() {
				t.Errorf("%q, want %q", buffer[:n], l.Addr().Network())
			}
		}
		if got := output(); got != "2 sockets, LISTEN_FDS=\"\"\n" {
			t.Error(got)
		}
	})
	for name, c := range map[string]struct {
		pid, fds string
		files    []*os.File
		want     string
	}{
		"of another process": {"1", "2", nil, "0 sockets, LISTEN_FDS=\"\"\n"},
		"none":               {"own", "0", nil, "0 sockets, LISTEN_FDS=\"\"\n"},
		"not there":          {"own", "50", nil, "error: socket 3 of LISTEN_FDS: want one that listens for streams"},
		"of datagrams":       {"own", "1", []*os.File{file(udp.(*net.UDPConn))}, "error: socket 3 of LISTEN_FDS: want one that listens for streams"},
		"too many":           {"own", "1000", nil, "error: LISTEN_FDS=\"1000\": want a number of 0 to 100\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := start(t, c.pid, c.fds, c.files...)(); !strings.HasPrefix(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Error(err)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "notify"), "@paligemma-test-" + strconv.Itoa(os.Getpid())} {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		t.Setenv("NOTIFY_SOCKET", path)
		if err := Notify("READY=1", "STATUS=fine"); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 100)
		if n, err := conn.Read(buffer); string(buffer[:n]) != "READY=1\nSTATUS=fine" {
			t.Errorf("%q, %v", buffer[:n], err)
		}
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if err := Notify("READY=1"); err == nil {
		t.Error("nobody listens, and no error")
	}
}

// FuzzCount reads what a service manager says.
func FuzzCount(f *testing.F) {
	for _, seed := range [][2]string{{"7", "1"}, {"", ""}, {"7", "-1"}, {"07", "+3"}, {"7", "999999999999999999999"}, {"x", "1"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pid, fds string) {
		n, err := count(pid, fds, 7)
		if n < 0 || n > maxFDs || err != nil && n != 0 {
			t.Fatalf("%d, %v", n, err)
		}
		if p, _ := strconv.Atoi(pid); n > 0 && p != 7 {
			t.Fatalf("%d sockets of process %q", n, pid)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Fatalf("the message has %d bytes", len(err.Error()))
		}
	})
}
