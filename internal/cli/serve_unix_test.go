//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServe: a server on a port and on a socket answers as the command does, and ends
// with exit code 0.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	stale, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	s := startServe(t, nil, "--port", "0", "--socket", socket, "-m", fixture(t, "MODEL"), "--log-format", "json", "-q")
	address := s.address(t, "http://")
	waitHealthy(t, address)
	waitHealthy(t, "unix:"+socket)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v, want rw-rw----", info.Mode(), err)
	}
	if out, code := runProgram(t, "serve", "--socket", socket); code != exitFailed || !strings.Contains(out, "a server runs there already") {
		t.Errorf("%d %s", code, out)
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(address, "http://"))
	if out, code := runProgram(t, "serve", "--port", port); code != exitFailed || !strings.Contains(out, "address already in use: does a server run there already?") {
		t.Errorf("%d %s", code, out)
	}
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	data, err := os.ReadFile(scene)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(map[string]string{"image": "data:image/png;base64," + base64.StdEncoding.EncodeToString(data)})
	resp, err := http.Post(address+"/v1/caption", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got, want struct {
		Text   string
		Tokens []int
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	out, _ := runProgram(t, "caption", scene, "-m", fixture(t, "MODEL"), "--json", "-q")
	if err := json.Unmarshal([]byte(out), &want); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got.Tokens) == 0 {
		t.Errorf("%v, want %v", got, want)
	}
	s.signal(t, syscall.SIGTERM)
	s.end(t, exitOK)
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// TestServeSignals: a signal ends a server when the requests under way are answered or
// their time is over, a second one ends it at once.
func TestServeSignals(t *testing.T) {
	for _, c := range []struct {
		name    string
		signals []syscall.Signal
		args    []string
		code    int
	}{
		{"terminated", []syscall.Signal{syscall.SIGTERM}, []string{"--shutdown-timeout", "100ms"}, exitOK},
		{"interrupted", []syscall.Signal{syscall.SIGINT}, []string{"--shutdown-timeout", "100ms"}, exitOK},
		{"twice", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, nil, exitSignal + int(syscall.SIGTERM)},
		{"impatient", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, nil, exitInterrupted},
		{"hung up, then terminated", []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP, syscall.SIGTERM}, []string{"--shutdown-timeout", "100ms"}, exitOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startServe(t, nil, append([]string{"--port", "0", "-m", fixture(t, "MODEL")}, c.args...)...)
			address := s.address(t, "http://")
			waitHealthy(t, address)
			conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// A request that is under way as long as its body takes.
			fmt.Fprint(conn, "POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
			if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "100 Continue") {
				t.Fatalf("%q, %v", line, err)
			}
			ending := false
			for _, signal := range c.signals {
				s.signal(t, signal)
				switch {
				case signal == syscall.SIGHUP:
					s.wait(t, "reload")
				case !ending:
					s.wait(t, "ending")
					ending = true
				}
			}
			s.end(t, c.code)
		})
	}
}

// TestServeReload: SIGHUP opens the log and reads the keys and certificates again.
func TestServeReload(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeCertificate(t, path("cert"), path("key"))
	write("keys", "# the old one\nold\n\nold2\n")
	s := startServe(t, nil, "--port", "0", "-m", fixture(t, "MODEL"), "--log-file", path("log"), "--api-key-file", path("keys"), "--api-key", "typed", "--tls-cert", path("cert"), "--tls-key", path("key"))
	address := s.address(t, "https://")
	waitHealthy(t, address, "--tls-cert", path("cert"), "--tls-key", path("key"))
	if out, code := runProgram(t, "health", address); code != exitFailed || !strings.Contains(out, "certificate") {
		t.Errorf("%d %s: a certificate of nobody is trusted", code, out)
	}
	client := func() *http.Client {
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	}
	want := func(key string, status int) {
		t.Helper()
		if got := get(t, client(), address+"/version", key); got != status {
			t.Errorf("%q: %d, want %d", key, got, status)
		}
	}
	serial := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", strings.TrimPrefix(address, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	waitLog := func(name, text string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			data, _ := os.ReadFile(path(name))
			if strings.Contains(string(data), text) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s lacks %q: %s", name, text, data)
			}
		}
	}
	want("old", 200)
	want("old2", 200)
	want("typed", 200)
	want("new", 401)
	want("", 401)
	before := serial()
	if err := os.Rename(path("log"), path("log.1")); err != nil {
		t.Fatal(err)
	}
	write("keys", "new\n")
	writeCertificate(t, path("cert"), path("key"))
	s.signal(t, syscall.SIGHUP)
	waitLog("log", "reload")
	want("new", 200)
	want("typed", 200)
	want("old", 401)
	if after := serial(); after == before {
		t.Error("the certificate stays the old one")
	}
	// What cannot be read stays as it is: an empty file does not open the server.
	for i, text := range []string{"", "a b\n"} {
		write("keys", text)
		s.signal(t, syscall.SIGHUP)
		waitLog("log", []string{"has no key in it", "line 1"}[i])
		want("new", 200)
		want("", 401)
	}
	waitLog("log.1", "status=401")
	s.signal(t, syscall.SIGTERM)
	s.end(t, exitOK)
	data, err := os.ReadFile(path("log"))
	if err != nil || strings.Contains(string(data)+s.seen.String(), "Bearer") {
		t.Errorf("%v: the log has keys", err)
	}
}

// TestServeActivated: the server takes over sockets, and tells the service manager how
// it is.
func TestServeActivated(t *testing.T) {
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	next := func() string {
		t.Helper()
		_ = notify.SetReadDeadline(time.Now().Add(time.Minute))
		buffer := make([]byte, 1000)
		n, err := notify.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}
	activated := func(listen string, args ...string) (*served, net.Listener) {
		t.Helper()
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec paligemma serve "$@"`, "sh"}, args...)...)
		cmd.ExtraFiles = []*os.File{file}
		return startCommand(t, cmd, []string{"LISTEN_FDS=1", "NOTIFY_SOCKET=" + notify.LocalAddr().String(), "PALIGEMMA_MODEL=" + fixture(t, "MODEL")}), l
	}
	s, l := activated("127.0.0.1:0")
	for next() != "READY=1\nSTATUS=answering requests" {
	}
	if got := s.address(t, "http://"); got != "http://"+l.Addr().String() {
		t.Errorf("%s, want %v", got, l.Addr())
	}
	waitHealthy(t, l.Addr().String())
	s.signal(t, syscall.SIGTERM)
	for next() != "STOPPING=1" {
	}
	s.end(t, exitOK)
	// A socket that others reach needs a key, too.
	s, _ = activated("0.0.0.0:0")
	s.wait(t, "--insecure-no-key")
	s.end(t, exitUsage)
	s, l = activated("0.0.0.0:0", "--api-key", "key", "--allowed-host", "pictures.example")
	for next() != "READY=1\nSTATUS=answering requests" {
	}
	waitHealthy(t, strings.Replace(l.Addr().String(), "[::]", "127.0.0.1", 1))
	s.signal(t, syscall.SIGTERM)
	s.end(t, exitOK)
}
