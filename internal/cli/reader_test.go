package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// slowReads is a reader whose reads begin when they are told to, and fail for
// names that begin with "bad".
type slowReads struct {
	reader
	begun chan string
	end   chan struct{} // one for each read
}

func newSlowReads(ctx context.Context, names ...string) (*slowReads, []*input) {
	var inputs []*input
	for _, name := range names {
		inputs = append(inputs, &input{path: name})
	}
	s := &slowReads{begun: make(chan string, len(names)), end: make(chan struct{}, len(names))}
	s.rest = inputs
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.read = func(ctx context.Context, in input) (picture, error) {
		s.begun <- in.path
		select {
		case <-s.end:
		case <-ctx.Done():
			return picture{}, ctx.Err()
		}
		if in.path[:3] == "bad" {
			return picture{}, imageError{errors.New(in.path)}
		}
		return picture{data: []byte(in.path)}, nil
	}
	return s, inputs
}

// Images come in order, one is read ahead and no more, and an error waits for
// its turn.
func TestReadAhead(t *testing.T) {
	s, inputs := newSlowReads(t.Context(), "one", "two", "bad three", "four")
	defer s.close()
	s.reader.begin()
	for i, in := range inputs {
		if got := <-s.begun; got != in.path {
			t.Fatalf("read %s, want %s", got, in.path)
		}
		s.end <- struct{}{}
		<-s.reader.begun.done
		if len(s.begun) > 0 {
			t.Fatalf("%s is read before %s was taken", <-s.begun, in.path)
		}
		pic, err := s.take(in)
		var bad imageError
		if failed := errors.As(err, &bad); failed != (i == 2) || !failed && string(pic.data) != in.path {
			t.Fatalf("%s: %q, %v", in.path, pic.data, err)
		}
		// What comes next is read meanwhile, but after a failure, which may be
		// the end, not before it is taken.
		if (s.reader.begun != nil) != (i < 2) {
			t.Fatalf("after %s: reading ahead: %v", in.path, s.reader.begun != nil)
		}
		if i == 2 {
			s.begin()
		}
	}
}

// Of images that share a prompt, those after one that fails are never read.
func TestReadAheadLeavesOut(t *testing.T) {
	s, inputs := newSlowReads(t.Context(), "bad one", "two", "three")
	defer s.close()
	s.begin()
	s.end <- struct{}{}
	if _, err := s.take(inputs[0]); err == nil {
		t.Fatal("no error")
	}
	s.end <- struct{}{}
	if pic, err := s.take(inputs[2]); err != nil || string(pic.data) != "three" {
		t.Errorf("%q, %v", pic.data, err)
	}
	if got := []string{<-s.begun, <-s.begun}; !slices.Equal(got, []string{"bad one", "three"}) {
		t.Errorf("read %q", got)
	}
}

// Closing, or a context that ends, ends the reading ahead and waits for it.
func TestReadAheadEnds(t *testing.T) {
	for _, how := range []string{"close", "context"} {
		ctx, cancel := context.WithCancel(t.Context())
		s, inputs := newSlowReads(ctx, "one", "two")
		s.begin()
		s.end <- struct{}{}
		if _, err := s.take(inputs[0]); err != nil {
			t.Fatal(err)
		}
		ahead := s.reader.begun
		if how == "context" {
			cancel()
			if _, err := s.take(inputs[1]); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", how, err)
			}
		}
		s.close()
		select {
		case <-ahead.done:
		default:
			t.Errorf("%s: it still reads", how)
		}
		cancel()
	}
}

// Pictures wait for the model, and are what they are without waiting.
func TestReaderOpen(t *testing.T) {
	in := input{path: filepath.Join(fixture(t, "IMAGES"), "scene.png")}
	a := &app{Streams: Streams{Err: io.Discard}}
	r := a.newReader(t.Context(), []*input{&in}, imageOptions{})
	select {
	case <-r.begun.done:
		t.Error("it is read before the model is open")
	case <-time.After(20 * time.Millisecond):
	}
	e, err := a.openModel(modelOptions{Model: fixture(t, "MODEL"), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r.open(e)
	pic, err := r.take(&in)
	if err != nil || len(pic.Pixels) != 3*56*56 || pic.Size.X != 200 || pic.took <= 0 {
		t.Errorf("%d values, %v, %v", len(pic.Pixels), pic.Size, err)
	}
	r.close()
	// A model that never opens: closing is enough.
	r = a.newReader(t.Context(), []*input{&in}, imageOptions{})
	r.close()
}

// A model that cannot be opened is told at once, whatever standard input does;
// and what was read is answered while the next image is waited for.
func TestStandardInputWaits(t *testing.T) {
	cmd, _, _ := start(t, t.TempDir(), "caption", "-", "-m", "missing.gguf")
	if code := exitOf(cmd.Wait()); code != exitModel {
		t.Errorf("a missing model: exit code %d", code)
	}
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	cmd, stdin, stdout := start(t, t.TempDir(), "caption", scene, "-", scene, "--max-tokens", "2")
	first := make([]byte, len(scene)+5)
	if _, err := io.ReadFull(stdout, first); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(scene)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write(data); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	rest, err := io.ReadAll(stdout)
	if code := exitOf(cmd.Wait()); err != nil || code != exitOK {
		t.Errorf("exit code %d, %v", code, err)
	}
	if want := fmt.Sprintf("%s%s\n-%s\n%s%s\n", scene, "\t<seg099> el", "\t<seg099> el", scene, "\t<seg099> el"); string(first)+string(rest) != want {
		t.Errorf("%q, want %q", string(first)+string(rest), want)
	}
	cmd, _, stdout = start(t, t.TempDir(), "caption", scene, "-", "--max-tokens", "2")
	if _, err := io.ReadFull(stdout, first); err != nil {
		t.Fatal(err)
	}
	interrupt(t, cmd)
}

func exitOf(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}
