package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/result"
	"paligemma/internal/tokenizer"
)

// runArgs runs the command line in this process.
func runArgs(t *testing.T, ctx context.Context, tty bool, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(ctx, args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs, OutTTY: tty})
	return code, out.String(), errs.String()
}

// To a file the text is untouched; to a terminal no control character of it
// gets through, and it comes in parts.
func TestTerminal(t *testing.T) {
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	args := []string{"caption", scene, "-m", fixture(t, "MODEL"), "--max-tokens", "12"}
	const want = "<seg099> el el el el el el el\x1d<loc0421><loc0421>"
	if code, out, errs := runArgs(t, t.Context(), false, args...); code != 0 || !strings.HasPrefix(out, want) {
		t.Errorf("to a file: %d, %q, %q", code, out, errs)
	}
	if code, out, errs := runArgs(t, t.Context(), true, args...); code != 0 || !strings.HasPrefix(out, strings.ReplaceAll(want, "\x1d", `\u001d`)) {
		t.Errorf("to a terminal: %d, %q, %q", code, out, errs)
	}
	var parts writes
	a := append([]string{}, args...)
	if code := Run(t.Context(), a, Streams{Out: &parts, Err: io.Discard, OutTTY: true}); code != 0 || len(parts) < 10 {
		t.Errorf("to a terminal: %d, in %d parts", code, len(parts))
	}
	parts = nil
	a[0] = "generate"
	a = append(a, "--prompt", "caption en")
	if code := Run(t.Context(), a, Streams{Out: &parts, Err: io.Discard}); code != 0 || len(parts) < 10 {
		t.Errorf("generate: %d, in %d parts", code, len(parts))
	}
	if got := strings.Join(parts, ""); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\n") {
		t.Errorf("generate wrote %q", got)
	}
}

// writes keeps every Write apart.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

// A context that has ended means 130 and nothing left behind.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	for _, args := range [][]string{
		{"convert", fixture(t, "CHECKPOINT"), filepath.Join(dir, "x.gguf")},
		{"forward", "--prompt", "x", "-o", filepath.Join(dir, "x.safetensors"), "-m", fixture(t, "MODEL")},
		{"caption", scene, "-m", fixture(t, "MODEL")},
		{"caption", scene, scene, "-m", fixture(t, "MODEL")},
		{"generate", "--prompt", "x", "-m", fixture(t, "MODEL")},
		{"generate", "--prompt", "x", "-m", fixture(t, "MODEL"), "--beams", "2"},
		{"score", "--prompt", "x", "-m", fixture(t, "MODEL"), "--suffix", "y"},
		{"detect", "cat", scene, "-m", fixture(t, "MODEL"), "--draw", filepath.Join(dir, "x.png")},
		{"parse", "--size", "9x9"},
		{"parse", maskText, "--image", scene, "--mask-decoder", fixture(t, "CODEC"), "--draw", filepath.Join(dir, "x.png")},
		{"inspect", "--verify", fixture(t, "MODEL")},
		{"inspect", "--verify", fixture(t, "CHECKPOINT")},
	} {
		t.Run(args[0], func(t *testing.T) {
			if code, out, errs := runArgs(t, ctx, false, args...); code != exitInterrupted || strings.TrimSpace(out) != "" {
				t.Errorf("%v: %d, %q, %q", args, code, out, errs)
			}
		})
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// start runs the program itself.
func start(t *testing.T, dir string, args ...string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout io.ReadCloser) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("signals")
	}
	cmd = exec.Command("paligemma", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PALIGEMMA_MODEL="+fixture(t, "MODEL"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if stdout, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, stdin, stdout
}

// interrupt sends Ctrl-C and waits for the end.
func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
			t.Errorf("after Ctrl-C: %v, want exit code 130", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Ctrl-C does not end it")
	}
}

func TestInterruptGenerate(t *testing.T) {
	// Any one text may end at any token, a thousand will not before the signal comes.
	args := append([]string{"generate", "--max-tokens", "1000000", "--temperature", "2"}, slices.Repeat([]string{"--prompt", "x"}, 1000)...)
	cmd, _, stdout := start(t, t.TempDir(), args...)
	if _, err := io.ReadFull(stdout, make([]byte, 20)); err != nil { // it streams
		t.Fatal(err)
	}
	interrupt(t, cmd)
}

// While it waits for standard input, with its output begun.
func TestInterruptForward(t *testing.T) {
	dir := t.TempDir()
	cmd, stdin, _ := start(t, dir, "forward", "-", "--prompt", "x", "-o", "out.safetensors")
	if _, err := stdin.Write(make([]byte, pipeful)); err != nil { // it reads
		t.Fatal(err)
	}
	interrupt(t, cmd)
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// A reader that goes away ends the program with 0, and early.
func TestClosedPipe(t *testing.T) {
	cmd, _, stdout := start(t, t.TempDir(), "generate", "--prompt", "x", "--max-tokens", "1000000", "--temperature", "2")
	if _, err := io.ReadFull(stdout, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	stdout.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("a closed pipe: %v", err)
	}
	cmd, _, stdout = start(t, t.TempDir(), "inspect", fixture(t, "MODEL"))
	stdout.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("a pipe that was never read: %v", err)
	}
}

func TestExitCode(t *testing.T) {
	inner := errors.New("x")
	for want, errs := range map[int][]error{
		exitOK:          {nil, errClosedPipe, fmt.Errorf("a: %w", errClosedPipe), errors.Join(context.Canceled, errClosedPipe)},
		exitFailed:      {inner, os.ErrExist, &engine.ModelError{Err: &engine.MemoryError{}}},
		exitUsage:       {usageError{inner}, fmt.Errorf("a: %w", usageError{inner}), &tokenizer.ImageCountError{}},
		exitPartly:      {partlyError{1, 2, "images"}, errors.Join(partlyError{1, 2, "lines"}, nil)},
		exitModel:       {&engine.ModelError{Err: inner}, fmt.Errorf("a: %w", model.ErrNaN)},
		exitImage:       {result.ImageError{Err: inner}},
		exitInterrupted: {context.Canceled, result.ImageError{Err: context.Canceled}, &engine.ModelError{Err: context.Canceled}},
	} {
		t.Run(strconv.Itoa(want), func(t *testing.T) {
			for _, err := range errs {
				if got := exitCode(err); got != want {
					t.Errorf("exitCode(%v) = %d, want %d", err, got, want)
				}
			}
		})
	}
}

func TestResultWriter(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{{syscall.EPIPE, exitOK}, {io.ErrClosedPipe, exitOK}, {syscall.ENOSPC, exitFailed}} {
		t.Run(c.err.Error(), func(t *testing.T) {
			broken := &resultWriter{w: brokenWriter{c.err}}
			fmt.Fprint(broken, "a")
			broken.w = io.Discard
			if _, err := fmt.Fprint(broken, "b"); err == nil {
				t.Error("the error is forgotten")
			}
			if code := Run(t.Context(), []string{"version"}, Streams{Out: brokenWriter{c.err}, Err: io.Discard}); code != c.want {
				t.Errorf("exit code %d, want %d", code, c.want)
			}
		})
	}
}

type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: b.err}
}

func TestPrinter(t *testing.T) {
	for _, c := range []struct {
		p    printer
		want string
	}{
		{printer{format: formatText}, "a\nb\\\x1b[31mé\r\n"},
		{printer{format: formatText, layout: layout{many: true, lines: true}}, "a\\nb\\\\\x1b[31mé\\r\n"},
		{printer{format: formatText, layout: layout{many: true, lines: true, paths: true}}, "x\\ty\x1b\ta\\nb\\\\\x1b[31mé\\r\n"},
	} {
		t.Run(fmt.Sprintf("%+v", c.p.layout), func(t *testing.T) {
			var b strings.Builder
			c.p.w = &b
			if err := c.p.text("x\ty\x1b", "a\nb\\\x1b[31mé\r"); err != nil {
				t.Fatal(err)
			}
			if b.String() != c.want {
				t.Errorf("%+v: %q, want %q", c.p, b.String(), c.want)
			}
		})
	}
	var b strings.Builder
	p := printer{w: &b, format: formatJSON, layout: layout{many: true}}
	if err := errors.Join(p.object(result.Result{Task: "<a>"}), p.object(result.Result{Task: "b"}), p.close()); err != nil {
		t.Fatal(err)
	}
	if want := "[\n{\"task\":\"<a>\"},\n{\"task\":\"b\"}\n]\n"; b.String() != want {
		t.Errorf("an array: %q, want %q", b.String(), want)
	}
	b.Reset()
	p = printer{w: &b, format: formatJSON, layout: layout{many: true}}
	if err := p.close(); err != nil || b.String() != "[]\n" {
		t.Errorf("an empty array: %q, %v", b.String(), err)
	}
}

// Every flag of every command has its variable, and the command line wins.
func TestEnvironment(t *testing.T) {
	root := (&app{}).rootCommand()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		flags := cmd.Flags()
		flags.AddFlagSet(cmd.InheritedFlags())
		values := map[string]string{"bool": "true", "int": "7", "int64": "7", "uint64": "7", "float64": "0.5", "string": "s", "stringArray": "s", "stringSlice": "s", "duration": "7s", "intSlice": "1,2", "box": "1,2,3,4"}
		lookup := func(name string) (string, bool) {
			var v string
			flags.VisitAll(func(f *pflag.Flag) {
				if envName(f.Name) == name {
					v = values[f.Value.Type()]
				}
			})
			return v, v != ""
		}
		if f := flags.Lookup("quiet"); f != nil {
			flags.Set("quiet", "false")
		}
		if err := applyEnv(flags, lookup); err != nil {
			t.Fatalf("%s: %v", cmd.Name(), err)
		}
		flags.VisitAll(func(f *pflag.Flag) {
			switch {
			case !hasVariable(f):
				if f.Changed {
					t.Errorf("%s --%s comes from a variable", cmd.Name(), f.Name)
				}
			case f.Name == "quiet":
				if f.Value.String() != "false" {
					t.Errorf("%s: the variable beats --quiet", cmd.Name())
				}
			case !f.Changed || strings.Trim(f.Value.String(), "[]") != values[f.Value.Type()]:
				t.Errorf("%s --%s is %q in spite of %s", cmd.Name(), f.Name, f.Value, envName(f.Name))
			}
		})
	}
	if envName("max-tokens") != "PALIGEMMA_MAX_TOKENS" {
		t.Error(envName("max-tokens"))
	}
}

// What is wrong with a variable is told without quoting it twice.
func TestWrongEnvironment(t *testing.T) {
	for name, want := range map[string]string{
		"PALIGEMMA_MAX_TOKENS":  "invalid syntax",
		"PALIGEMMA_TEMPERATURE": "invalid syntax",
		"PALIGEMMA_TIMINGS":     "invalid syntax",
		"PALIGEMMA_MAX_PIXELS":  "want a number, 1 or more",
		"PALIGEMMA_BOX":         "",
	} {
		t.Run(name, func(t *testing.T) {
			flags, _, err := (&app{}).rootCommand().Find([]string{"caption"})
			if err != nil {
				t.Fatal(err)
			}
			set := flags.Flags()
			set.AddFlagSet(flags.InheritedFlags())
			err = applyEnv(set, func(n string) (string, bool) { return strings.Repeat("x", 3000), n == name })
			if err == nil || !strings.HasPrefix(err.Error(), name+`="xxx`) || !strings.HasSuffix(err.Error(), want) {
				t.Fatalf("%v", err)
			}
			if n := strings.Count(err.Error(), "x"); n > quote.Max && name != "PALIGEMMA_BOX" || len(err.Error()) > 350 {
				t.Errorf("%d bytes: %v", len(err.Error()), err)
			}
		})
	}
}

func TestReadLimited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{path, stdinName} {
		t.Run(filepath.Base(from), func(t *testing.T) {
			stdin := func() io.Reader { return strings.NewReader("12345") }
			if data, err := readLimited(from, stdin(), 5); err != nil || string(data) != "12345" {
				t.Errorf("%s: %q, %v", from, data, err)
			}
			if _, err := readLimited(from, stdin(), 4); err == nil {
				t.Errorf("%s: more than the limit is read", from)
			}
		})
	}
}
