//go:build rpc

package model_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// The processes of TestServerKilled: this program again, told by a variable who it is.
const (
	roleVariable = "PALIGEMMA_TEST_ROLE"
	roleServer   = "server"  // and an address
	roleDecoder  = "decoder" // and an address and a model
)

func init() {
	role := strings.Fields(os.Getenv(roleVariable))
	switch {
	case len(role) == 2 && role[0] == roleServer:
		ggml.Devices()
		testdevice.Serve(role[1])
	case len(role) == 3 && role[0] == roleDecoder:
		if err := decodeForever(role[1], role[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	default:
		return
	}
	os.Exit(1)
}

// decodeForever writes a line for each token of a text on a server.
func decodeForever(address, path string) error {
	ggml.Devices()
	if err := testdevice.Connect(address); err != nil {
		return err
	}
	b, err := ggml.NewBackend(ggml.Options{Device: "rpc0", Threads: 1})
	if err != nil {
		return err
	}
	f, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		return err
	}
	m, err := model.Load(f, b)
	if err != nil {
		return err
	}
	cache, err := m.NewCache(100)
	if err != nil {
		return err
	}
	seq := cache.NewSequence(100)
	if _, err := m.Prefill(context.Background(), seq, model.Prompt{IDs: []int{m.Config().Tokens.BOS}}); err != nil {
		return err
	}
	for {
		if _, err := m.Step(context.Background(), []model.Token{{Sequence: seq, ID: 5}}); err != nil {
			return err
		}
		fmt.Println("token")
	}
}

// TestServerKilled kills the server of a device in the middle of a text: the program ends
// at once, with one line.
func TestServerKilled(t *testing.T) {
	address, err := testdevice.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	start := func(role string, stderr *bytes.Buffer) (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), roleVariable+"="+role)
		cmd.Stderr = stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, bufio.NewScanner(out)
	}
	var said bytes.Buffer
	server, log := start(roleServer+" "+address, new(bytes.Buffer))
	go func() {
		for log.Scan() { // else it would wait for somebody who reads
		}
	}()
	decoder, tokens := start(roleDecoder+" "+address+" "+convertTo(t, "pg1-tiny", "f32"), &said)
	for i := 0; i < 20 && tokens.Scan(); i++ {
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	_ = server.Wait()
	for tokens.Scan() {
	}
	err = decoder.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v, want exit status 1", err)
	}
	if text := said.String(); strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "paligemma: a device on another machine does not answer") {
		t.Errorf("standard error: %q", text)
	}
	t.Logf("ended after %v", time.Since(killed).Round(time.Millisecond))
}
