//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// served is a server that runs as a program.
type served struct {
	cmd   *exec.Cmd
	lines chan string // of standard error
	seen  strings.Builder
}

// startServe starts paligemma serve, with more variables. The test fails where it takes
// a minute.
func startServe(t *testing.T, env []string, args ...string) *served {
	t.Helper()
	return startCommand(t, exec.Command("paligemma", append([]string{"serve"}, args...)...), env)
}

func startCommand(t *testing.T, cmd *exec.Cmd, env []string) *served {
	t.Helper()
	s := &served{cmd: cmd, lines: make(chan string, 1000)}
	cmd.Env = append(os.Environ(), env...)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop(); cmd.Process.Kill(); cmd.Wait() })
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	return s
}

// wait waits for a line with a text, and returns it.
func (s *served) wait(t *testing.T, text string) string {
	t.Helper()
	for line := range s.lines {
		s.seen.WriteString(line + "\n")
		if strings.Contains(line, text) {
			return line
		}
	}
	t.Fatalf("no line with %q: %s", text, s.seen.String())
	return ""
}

// address waits until the server listens, and returns where.
func (s *served) address(t *testing.T, scheme string) string {
	t.Helper()
	line := s.wait(t, "listening on "+scheme)
	return line[strings.Index(line, scheme):]
}

func (s *served) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// end waits for the end of the program, and holds its exit code against want.
func (s *served) end(t *testing.T, want int) {
	t.Helper()
	for line := range s.lines {
		s.seen.WriteString(line + "\n")
	}
	s.cmd.Wait()
	if code := s.cmd.ProcessState.ExitCode(); code != want {
		t.Errorf("exit code %d, want %d: %s", code, want, s.seen.String())
	}
}

// runProgram runs a command and returns its output and exit code.
func runProgram(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command("paligemma", args...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// waitHealthy waits until a server answers requests.
func waitHealthy(t *testing.T, args ...string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		out, code := runProgram(t, append([]string{"health"}, args...)...)
		if code == exitOK {
			if out != "ok\n" {
				t.Errorf("%q, want ok", out)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d %s", code, out)
		}
	}
}

// get gets an address, with a key where there is one, and returns the status.
func get(t *testing.T, client *http.Client, url, key string) int {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

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

// writeCertificate writes a certificate that nobody has signed, and its key.
func writeCertificate(t *testing.T, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"pictures.example"}}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: public}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
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

// TestHealthCommand: what health says of servers that are not well.
func TestHealthCommand(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"loading": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(503)
			io.WriteString(w, `{"status":"loading"}`)
		}, "loading (503)"},
		"something else": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, "answered 200: does something else run there?"},
		"a redirect":     {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://example.org", 302) }, "answered 302"},
		"a long one": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"status":"%s"}`, strings.Repeat("x", 5000))
		}, "answered 200"},
		"steering": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, `{"status":"a\u001b[2Jb"}`)
		}, `a\u001b[2Jb (500)`},
		"silence": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 200ms"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: c.answer}
			go server.Serve(l)
			defer server.Close()
			timeout := "1m"
			if name == "silence" {
				timeout = "200ms"
			}
			out, code := runProgram(t, "health", "--timeout", timeout, l.Addr().String())
			if code != exitFailed || !strings.Contains(out, c.says) || strings.Count(out, "\n") != 1 {
				t.Errorf("%d %q, want %q", code, out, c.says)
			}
		})
	}
}

// TestServeAsCommands: 16 requests of all kinds at once get, token for token, what the
// commands answer alone.
func TestServeAsCommands(t *testing.T) {
	model, images := fixture(t, "MODEL"), fixture(t, "IMAGES")
	address := startServe(t, nil, "--port", "0", "-m", model, "-q").address(t, "http://")
	type inquiry struct {
		task   string
		image  string
		fields map[string]any
		args   []string
	}
	var all []inquiry
	for i, image := range []string{"scene.png", "gradient.png", "photo.jpg", "scene.png"} {
		seed := fmt.Sprint(i)
		sampled := []string{"--temperature", "2", "--seed", seed, "--max-tokens", "40"}
		with := func(fields map[string]any) map[string]any {
			fields["temperature"], fields["seed"], fields["max_tokens"] = 2, i, 40
			return fields
		}
		all = append(all,
			inquiry{"caption", image, with(map[string]any{"lang": "de"}), append([]string{"--lang", "de"}, sampled...)},
			inquiry{"vqa", image, with(map[string]any{"prompt": "what?" + seed}), append([]string{"--prompt", "what?" + seed}, sampled...)},
			inquiry{"segment", image, with(map[string]any{"objects": []string{"cat", "dog"}}), append([]string{"cat ; dog"}, sampled...)},
			inquiry{"score", image, map[string]any{"prompt": "x", "suffixes": []string{"a" + seed, "b"}}, []string{"--prompt", "x", "--suffix", "a" + seed, "--suffix", "b"}},
		)
	}
	// what of an answer is the same each time
	type answer struct {
		Text    string
		Tokens  []int
		Objects any
		Scores  any
	}
	read := func(data []byte) (a answer) {
		t.Helper()
		if err := json.Unmarshal(data, &a); err != nil {
			t.Errorf("%v: %.300s", err, data)
		}
		return a
	}
	answers := make([]answer, len(all))
	var wg sync.WaitGroup
	for i, q := range all {
		data, err := os.ReadFile(filepath.Join(images, q.image))
		if err != nil {
			t.Fatal(err)
		}
		q.fields["image"] = base64.StdEncoding.EncodeToString(data)
		body, _ := json.Marshal(q.fields)
		wg.Go(func() {
			resp, err := http.Post(address+"/v1/"+q.task, "application/json", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, _ := io.ReadAll(resp.Body)
			answers[i] = read(got)
		})
	}
	wg.Wait()
	for i, q := range all {
		args := append([]string{q.task}, q.args...)
		if q.task == "segment" { // whose objects come first
			args = append(args, filepath.Join(images, q.image))
		} else {
			args = append([]string{q.task, filepath.Join(images, q.image)}, q.args...)
		}
		code, out, errs := runArgs(t, t.Context(), false, append(args, "-m", model, "--json", "-q")...)
		if want := read([]byte(out)); code != 0 || fmt.Sprint(answers[i]) != fmt.Sprint(want) || len(want.Tokens) == 0 && want.Scores == nil {
			t.Errorf("%s %s: %v\nthe command: %d %v %s", q.task, q.image, answers[i], code, want, errs)
		}
	}
}
