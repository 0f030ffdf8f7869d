package batch

import (
	"os"
	"path/filepath"
	"testing"

	"paligemma/internal/batch/source"
)

// TestTotal: the records that there will be are counted as they are answered, one for
// each prompt and of the part alone.
func TestTotal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q.jsonl")
	lines := `{"image":"a.png"}` + "\n" + `{"image":"b.png","prompt":"own"}` + "\n" + "broken\n"
	if err := os.WriteFile(path, []byte(lines), 0o666); err != nil {
		t.Fatal(err)
	}
	task := &Task{Prompts: []string{"one", "two"}, Wrap: func(p string) string { return p }}
	for _, c := range []struct {
		name string
		part Part
		want int64
	}{{"all", Part{}, 4}, {"first", Part{0, 2}, 3}, {"second", Part{1, 2}, 1}} {
		t.Run(c.name, func(t *testing.T) {
			shards, err := (&source.Options{Args: []string{path}}).Shards()
			if err != nil {
				t.Fatal(err)
			}
			if !shards[0].Countable() {
				t.Error("not countable")
			}
			g := group{shards: shards, part: c.part}
			if got := g.count(t.Context(), task); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
