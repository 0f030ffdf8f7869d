package batch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"paligemma/internal/batch"
	"paligemma/internal/batch/source"
)

// endless is a list without an end.
type endless struct{ read int64 }

// Read gives more of the list.
func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for len(p)-n > 40 {
		n += copy(p[n:], fmt.Sprintf("gone/%020d.png\n", e.read+int64(n)))
	}
	e.read += int64(n)
	return n, nil
}

// TestEndless: records come while the list is read, of which no more is held than is
// under way.
func TestEndless(t *testing.T) {
	e, in, stop := open(t), &endless{}, make(chan struct{})
	o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"))
	o.Source.FilesFrom, o.Source.Stdin, o.Stop = source.Stdin, in, stop
	stopAfter(&o, 5000, func() { close(stop) })
	p, err := batch.Run(t.Context(), e, o)
	if !errors.Is(err, batch.ErrStopped) || p.Done < 5000 || p.Failed != p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	if most := p.Done*31 + 200_000; in.read > most {
		t.Errorf("%d bytes of the list were read for %d records", in.read, p.Done)
	}
}

// TestEncodedOnce: equal neighbors, and prompts about one image, share what the model
// made of the image.
func TestEncodedOnce(t *testing.T) {
	e, dir := open(t), pictures(t, 2)
	first, copied, second := filepath.Join(dir, "0000.png"), filepath.Join(dir, "0000b.png"), filepath.Join(dir, "0001.png")
	put(t, copied, picture(t, 0))
	o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), first, copied, second)
	o.Task.Prompts = []string{"caption en", "ocr"}
	run(t, e, o)
	data, err := os.ReadFile(o.Output)
	if err != nil {
		t.Fatal(err)
	}
	var vision []float64
	for line := range strings.Lines(string(data)) {
		var r struct {
			Timings struct {
				Vision float64 `json:"vision_ms"`
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		vision = append(vision, r.Timings.Vision)
	}
	if len(vision) != 6 || len(slices.Compact(slices.Clone(vision))) != 2 || vision[3] != vision[0] {
		t.Errorf("the images took %v ms to encode", vision)
	}
}

// TestStopped: a run that is stopped while more inputs come has not come to their end,
// whatever is seen first.
func TestStopped(t *testing.T) {
	e := open(t)
	for range 12 {
		in, out := io.Pipe()
		stop := make(chan struct{})
		o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"))
		o.Source.FilesFrom, o.Source.Stdin, o.Stop = source.Stdin, in, stop
		stopAfter(&o, 1, func() {
			close(stop)
			fmt.Fprintln(out, "gone2.png")
			time.Sleep(5 * time.Millisecond) // until the name has come to nobody
		})
		go fmt.Fprintln(out, "gone1.png")
		if p, err := batch.Run(t.Context(), e, o); !errors.Is(err, batch.ErrStopped) || p.Done != 1 {
			t.Errorf("%+v, %v", p, err)
		}
		if _, err := os.Stat(o.Output); err == nil {
			t.Error("there are complete results")
		}
		out.Close()
	}
}
