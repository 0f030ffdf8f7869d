//go:build rpc && unix

package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"paligemma/internal/adapter/random"
	"paligemma/internal/ggml"
	"paligemma/internal/testdevice"
)

// Variables that make this program, which the tests start again, a server of a device, or
// give it a device.
const (
	deviceServer = "TEST_DEVICE_SERVER" // an address
	deviceClient = "TEST_DEVICE_CLIENT" // the same
)

func init() {
	if address := os.Getenv(deviceServer); address != "" {
		ggml.CPU()
		testdevice.Serve(address)
	}
	if address := os.Getenv(deviceClient); address != "" {
		ggml.CPU()
		if err := testdevice.Connect(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// startDevice starts the server of a device, and returns the variable with which
// paligemma has it.
func startDevice(t *testing.T) (server *exec.Cmd, env []string) {
	t.Helper()
	address, err := testdevice.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	server = exec.Command(os.Args[0])
	server.Env = append(os.Environ(), deviceServer+"="+address)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	return server, []string{deviceClient + "=" + address}
}

// asked is a request under way, to a server whose device is to go.
type asked struct {
	name string
	body string
	live *bufio.Reader // of a stream, after its first line
	text string        // the rest, or the whole answer
	code int
	err  error
}

// begin sends the request, and returns when a stream has begun.
func (a *asked) begin(url string) {
	r, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(a.body))
	if err != nil {
		a.err = err
		return
	}
	a.code, a.live = r.StatusCode, bufio.NewReader(r.Body)
	if strings.Contains(a.name, "stream") {
		_, a.err = a.live.ReadString('\n')
	}
}

// end reads the rest.
func (a *asked) end() {
	if a.err == nil {
		var rest []byte
		rest, a.err = io.ReadAll(a.live)
		a.text = string(rest)
	}
}

// TestDeviceLost kills the server of a device while requests with several adapters, and
// without any, are answered: each gets one error, and the server ends in an orderly way,
// with exit code 1.
func TestDeviceLost(t *testing.T) {
	server, env := startDevice(t)
	path := fixture(t, "MODEL")
	args := []string{"--port", "0", "-m", path, "--parallel", "8", "--device", "rpc0"}
	for i, name := range []string{"a", "b"} {
		dir := randomAdapter(t, path, random.Options{Rank: 2 + i, Seed: uint64(i), Spread: 0.1, Text: true, Tower: i == 1})
		args = append(args, "--adapter", name+"="+dir)
	}
	s := startServe(t, env, args...)
	url := s.address(t, "http://")
	var all []*asked
	for _, form := range []string{"stream", "whole"} {
		for _, lora := range []string{`[]`, `["a"]`, `["b"]`, `["a", "b:0.5"]`} {
			all = append(all, &asked{name: form + " " + lora, body: fmt.Sprintf(
				`{"model": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3000, "temperature": 20, "seed": 6, "stream": %v, "lora": %s}`, form == "stream", lora)})
		}
	}
	var streams, rest sync.WaitGroup
	for _, a := range all {
		if strings.HasPrefix(a.name, "stream") {
			streams.Go(func() { a.begin(url) })
		} else {
			rest.Go(func() { a.begin(url) })
		}
	}
	streams.Wait()
	untilDecoding(t, url, len(all))
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	rest.Wait()
	for _, a := range all {
		a.end()
		want := http.StatusOK
		if strings.HasPrefix(a.name, "whole") {
			want = http.StatusServiceUnavailable
		}
		if a.err != nil || a.code != want || strings.Count(a.text, `"error":{`) != 1 || !strings.Contains(a.text, `"code":"device"`) {
			t.Errorf("%s: %d %q, %v", a.name, a.code, a.text[max(0, len(a.text)-300):], a.err)
		}
	}
	s.end(t, 1)
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(s.seen.String()), "\n"), func(line string) bool {
		return !strings.HasPrefix(line, "paligemma: ") || strings.Contains(line, "listening")
	})
	if len(lines) != 1 || !strings.Contains(lines[0], "a device does not answer any more") {
		t.Errorf("standard error: %q", s.seen.String())
	}
}

// TestDeviceLostIdle kills the server of a device while nothing is asked: the next request
// gets the error, and the server ends.
func TestDeviceLostIdle(t *testing.T) {
	server, env := startDevice(t)
	s := startServe(t, env, "--port", "0", "-m", fixture(t, "MODEL"), "--device", "rpc0")
	a := asked{name: "whole", body: `{"model": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}`}
	url := s.address(t, "http://")
	if a.begin(url); a.err != nil || a.code != http.StatusOK {
		t.Fatalf("before: %d, %v", a.code, a.err)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	a.begin(url)
	if a.end(); a.err != nil || a.code != http.StatusServiceUnavailable || !strings.Contains(a.text, `"code":"device"`) {
		t.Errorf("%d %q, %v", a.code, a.text, a.err)
	}
	s.end(t, 1)
}

// TestDeviceLostLoading kills the server of a device as soon as the program listens, while
// the model is opened or just after: it ends, at the first request at the latest.
func TestDeviceLostLoading(t *testing.T) {
	server, env := startDevice(t)
	s := startServe(t, env, "--port", "0", "-m", fixture(t, "MODEL"), "--device", "rpc0")
	a := asked{name: "whole", body: `{"model": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}`}
	url := s.address(t, "http://")
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	a.begin(url) // nobody may listen any more
	if a.end(); a.err == nil && a.code != http.StatusServiceUnavailable {
		t.Errorf("%d %q", a.code, a.text)
	}
	s.end(t, 1)
	if n := strings.Count(s.seen.String(), "a device does not answer any more"); n != 1 {
		t.Errorf("standard error: %q", s.seen.String())
	}
}

// untilDecoding returns when a server decodes a number of texts together.
func untilDecoding(t *testing.T, url string, n int) {
	t.Helper()
	for {
		r, err := http.Get(url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		_, err = text.ReadFrom(r.Body)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			if strings.HasPrefix(line, "paligemma_decode_sequences{") && strings.HasSuffix(strings.TrimSpace(line), fmt.Sprint(" ", n)) {
				return
			}
		}
	}
}
