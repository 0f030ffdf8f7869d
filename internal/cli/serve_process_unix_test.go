//go:build unix

package cli

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"strings"
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
