//go:build unix

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipeful is more than a pipe holds: to write it takes a reader.
const pipeful = 1 << 20

// fullPipe is the end of a pipe to which nothing more can be written.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(ends[0]) })
	if err := unix.SetNonblock(ends[1], true); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{4096, 1} {
		for {
			if _, err := unix.Write(ends[1], make([]byte, n)); errors.Is(err, unix.EAGAIN) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := unix.SetNonblock(ends[1], false); err != nil {
		t.Fatal(err)
	}
	w := os.NewFile(uintptr(ends[1]), "full")
	t.Cleanup(func() { w.Close() })
	return w
}

// fifo makes a named pipe that nobody writes to. ready returns when it is opened for
// reading.
func fifo(t *testing.T, path string) (ready func() error) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			t.Cleanup(func() { f.Close() })
		}
		return err
	}
}

// waiting is a way to keep the program waiting for ever.
type waiting struct {
	name string
	args []string
	// set up what it waits for; ready returns when it does.
	prepare func(t *testing.T, cmd *exec.Cmd) (ready func() error)
}

func waits() []waiting {
	pipe := func(t *testing.T, cmd *exec.Cmd) func() error { return fifo(t, filepath.Join(cmd.Dir, "pipe")) }
	stdin := func(t *testing.T, cmd *exec.Cmd) func() error {
		w, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		return func() error {
			_, err := w.Write(bytes.Repeat([]byte("<loc0000>\n"), pipeful/10))
			return err
		}
	}
	return []waiting{
		{"an image that is a pipe", []string{"caption", "pipe"}, pipe},
		{"a list that is a pipe", []string{"caption", "--files-from", "pipe"}, pipe},
		{"requests that are a pipe", []string{"generate", "--requests", "pipe"}, pipe},
		{"standard input", []string{"caption", "-"}, stdin},
		{"standard input, with an output begun", []string{"forward", "-", "--prompt", "x", "-o", "out.safetensors"}, stdin},
		{"a full standard output", []string{"parse", "--size", "9x9"}, func(t *testing.T, cmd *exec.Cmd) func() error {
			cmd.Stdout = fullPipe(t)
			w, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			return func() error {
				// More than the pipe holds is read before the first line is printed.
				_, err := w.Write(append(bytes.Repeat([]byte("x"), 200_000), '\n', '\n'))
				time.Sleep(200 * time.Millisecond) // until it prints
				return err
			}
		}},
		{"a full standard error", []string{"caption", "pipe", "--model", ""}, func(t *testing.T, cmd *exec.Cmd) func() error {
			cmd.Stderr = fullPipe(t)
			cmd.Env = append(cmd.Env, "PALIGEMMA_MODEL=")
			return pipe(t, cmd)
		}},
	}
}

// heed lets programs that the test starts get signals that the test ignores, as it does
// under nohup: what it handles itself they begin with the default of.
func heed(t *testing.T, signals ...os.Signal) {
	c := make(chan os.Signal, len(signals))
	signal.Notify(c, signals...)
	t.Cleanup(func() { signal.Stop(c) })
}

// TestSignals: one signal ends the program, whatever it waits for, and nothing is
// left behind.
func TestSignals(t *testing.T) {
	heed(t, syscall.SIGHUP)
	for _, w := range waits() {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
			t.Run(w.name+"/"+sig.String(), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				cmd := exec.Command("paligemma", w.args...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PALIGEMMA_MODEL="+fixture(t, "MODEL"))
				var errs bytes.Buffer
				cmd.Stderr = &errs
				ready := w.prepare(t, cmd)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer cmd.Process.Kill()
				if err := ready(); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
				defer timer.Stop()
				cmd.Wait()
				if code := cmd.ProcessState.ExitCode(); code != exitSignal+int(sig) {
					t.Errorf("exit code %d, want %d: %q", code, exitSignal+int(sig), errs.String())
				}
				if took := time.Since(start); took > 5*time.Second { // one, where nothing else runs
					t.Errorf("it takes %v", took)
				}
				want := "paligemma: " + (&stopped{signal: sig}).Error() + "\n"
				if cmd.Stderr == &errs && !strings.HasSuffix(errs.String(), want) {
					t.Errorf("stderr %q, want %q", errs.String(), want)
				}
				entries, _ := os.ReadDir(dir)
				for _, e := range entries {
					if e.Name() != "pipe" {
						t.Errorf("left behind: %s", e.Name())
					}
				}
			})
		}
	}
}

// TestSpecialFiles: what is no regular file is refused as a model, a checkpoint and
// its JSON, in one line and without waiting.
func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	fifo(t, pipe)
	checkpoint := func(name string) string {
		folder := filepath.Join(dir, "no-"+name)
		if err := os.CopyFS(folder, os.DirFS(fixture(t, "CHECKPOINT"))); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		fifo(t, path)
		return folder
	}
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	out := filepath.Join(dir, "out.gguf")
	for i, args := range [][]string{
		{"caption", scene, "-m", pipe},
		{"caption", scene, "-m", os.DevNull},
		{"quantize", pipe, out, "--type", "q8_0"},
		{"inspect", pipe},
		{"inspect", os.DevNull},
		{"inspect", checkpoint("config.json")},
		{"convert", pipe, out},
		{"convert", checkpoint("tokenizer.json"), out},
		{"convert", checkpoint("model.safetensors"), out},
		{"convert", filepath.Join(dir, "no-config.json"), out},
		{"convert", fixture(t, "CHECKPOINT"), out, "--mask-decoder", pipe},
		{"parse", "<loc0000>", "--size", "9x9", "--mask-decoder", pipe},
	} {
		t.Run(fmt.Sprint(args[0], i), func(t *testing.T) {
			cmd := exec.Command("paligemma", args...)
			timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
			defer timer.Stop()
			text, _ := cmd.CombinedOutput()
			code, lines := cmd.ProcessState.ExitCode(), strings.Count(string(text), "\n")
			if code != exitModel && code != exitImage || lines != 1 {
				t.Errorf("%v: exit code %d, %q", args, code, text)
			}
		})
	}
}
