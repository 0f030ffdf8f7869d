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

	"paligemma/internal/result"
)

// slowReads is a reader whose reads begin when they are told to, and fail for
// names that begin with "bad".
type slowReads struct {
	reader
	begun chan string
	end   chan struct{} // one for each read
	ended chan string
}

func newSlowReads(ctx context.Context, names ...string) (*slowReads, []*source) {
	var sources []*source
	for _, name := range names {
		sources = append(sources, &source{path: name})
	}
	s := &slowReads{begun: make(chan string, len(names)), end: make(chan struct{}, len(names)), ended: make(chan string, len(names))}
	s.rest = sources
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.read = func(ctx context.Context, from source) (*Image, error) {
		s.begun <- from.path
		defer func() { s.ended <- from.path }()
		select {
		case <-s.end:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if from.path[:3] == "bad" {
			return nil, result.ImageError{Err: errors.New(from.path)}
		}
		return &Image{source: from}, nil
	}
	return s, sources
}

// Images come in order, one is read ahead and no more, and an error waits for
// its turn.
func TestReadAhead(t *testing.T) {
	s, sources := newSlowReads(t.Context(), "one", "two", "bad three", "four")
	defer s.close()
	s.reader.begin()
	for i, from := range sources {
		if got := <-s.begun; got != from.path {
			t.Fatalf("read %s, want %s", got, from.path)
		}
		s.end <- struct{}{}
		<-s.ended
		if len(s.begun) > 0 {
			t.Fatalf("%s is read before %s was taken", <-s.begun, from.path)
		}
		image, err := s.take(from)
		var bad result.ImageError
		if failed := errors.As(err, &bad); failed != (i == 2) || !failed && image.path != from.path {
			t.Fatalf("%s: %v, %v", from.path, image, err)
		}
		// What comes next is read meanwhile, but after a failure, which may be
		// the end, not before it is taken.
		if (s.ahead != nil) != (i < 2) {
			t.Fatalf("after %s: reading ahead: %v", from.path, s.ahead != nil)
		}
		if i == 2 {
			s.reader.begin()
		}
	}
}

// Of images that share a prompt, those after one that fails are never read.
func TestReadAheadLeavesOut(t *testing.T) {
	s, sources := newSlowReads(t.Context(), "bad one", "two", "three")
	defer s.close()
	s.begin()
	s.end <- struct{}{}
	if _, err := s.take(sources[0]); err == nil {
		t.Fatal("no error")
	}
	s.end <- struct{}{}
	if image, err := s.take(sources[2]); err != nil || image.path != "three" {
		t.Errorf("%v, %v", image, err)
	}
	if got := []string{<-s.begun, <-s.begun}; !slices.Equal(got, []string{"bad one", "three"}) {
		t.Errorf("read %q", got)
	}
}

// Closing, or a context that ends, ends the reading ahead and waits for it.
func TestReadAheadEnds(t *testing.T) {
	for _, how := range []string{"close", "context"} {
		t.Run(how, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, sources := newSlowReads(ctx, "one", "two")
			s.begin()
			s.end <- struct{}{}
			if _, err := s.take(sources[0]); err != nil {
				t.Fatal(err)
			}
			if how == "context" {
				cancel()
				if _, err := s.take(sources[1]); !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
			}
			s.close()
			if len(s.ended) != 2 {
				t.Errorf("%d of 2 reads have ended", len(s.ended))
			}
		})
	}
}

// Pictures wait for the model, and are what they are without waiting.
func TestReaderOpen(t *testing.T) {
	from := source{path: filepath.Join(fixture(t, "IMAGES"), "scene.png")}
	a := &app{Streams: Streams{Err: io.Discard}}
	r := a.newReader(t.Context(), []*source{&from}, limitOptions{})
	time.Sleep(20 * time.Millisecond)
	if len(r.ahead) > 0 {
		t.Error("it is read before the model is open")
	}
	e, err := a.openModel(modelOptions{Model: fixture(t, "MODEL"), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r.open(e)
	image, err := r.take(&from)
	if err != nil || len(image.fitted.Pixels) != 3*56*56 || image.fitted.Size.X != 200 || image.took <= 0 || image.decoded != nil {
		t.Errorf("%+v, %v", image, err)
	}
	r.close()
	// A model that never opens: closing is enough.
	r = a.newReader(t.Context(), []*source{&from}, limitOptions{})
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
