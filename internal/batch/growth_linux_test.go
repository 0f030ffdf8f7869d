package batch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"paligemma/internal/batch"
)

// descriptors returns how many files this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// heap returns the bytes of objects that are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestGrowth: neither open files nor memory grow with the pictures in an archive, the
// archives, or the files of a folder.
func TestGrowth(t *testing.T) {
	e, dir := open(t), t.TempDir()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close files that are forgotten
	put(t, filepath.Join(dir, "many.tar"), archive(t, 0, 600))
	for i := range 40 {
		put(t, filepath.Join(dir, fmt.Sprintf("s%02d.tar", i)), archive(t, 6*i, 6*i+6))
	}
	for _, c := range []struct {
		name, output string
		args         []string
		records      int64
	}{
		{"pictures in an archive", "o.jsonl", []string{filepath.Join(dir, "many.tar")}, 600},
		{"archives, folder", "o", []string{filepath.Join(dir, "s{00..39}.tar")}, 240},
		{"folder", "o3.jsonl", []string{pictures(t, 300)}, 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOptions(e, filepath.Join(dir, c.output), c.args...)
			o.Task.Request.MaxTokens, o.Job.MaxTokens = 1, 1
			outside := descriptors(t)
			var files int
			var first int64
			most := c.records / 4
			o.OnDone = func(p batch.Progress) {
				switch {
				case p.Answered == most:
					files, first = descriptors(t), heap()
				case p.Answered > most && p.Answered%20 == 0:
					if n := descriptors(t); n > files+4 { // a journal, an archive, the pictures that are read at the moment
						t.Errorf("after %d records %d files are open, after %d were %d", p.Answered, n, most, files)
					}
				}
				if p.Answered == c.records {
					if grown := heap() - first; grown > 1<<20 {
						t.Errorf("%d bytes more are in use than after %d records", grown, most)
					}
				}
			}
			if p := run(t, e, o); p.Answered != c.records || p.Failed > 0 {
				t.Errorf("%+v", p)
			}
			if n := descriptors(t); n != outside {
				t.Errorf("%d files are open, were %d", n, outside)
			}
		})
	}
}
