package batch_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"paligemma/internal/batch"
)

// asNobody calls a function as somebody who may not write everywhere, as root may. The
// thread ends with the goroutine.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	const nobody = 65534
	if os.Getuid() != 0 {
		f()
		return
	}
	done := make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread()
		_, _, err := syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0)
		if err == 0 {
			f()
		}
		done <- err
	}()
	if err := <-done; err != 0 {
		t.Fatal(err)
	}
}

// TestReadOnly: an output that may not be written is an error, and what is there stays.
func TestReadOnly(t *testing.T) {
	e, in := open(t), pictures(t, 4)
	for _, c := range []struct {
		name, output string
		protect      string // what may not be written; "": the folder
		begun        bool   // there are records
		overwrite    bool
	}{
		{"file in a folder", "o.jsonl", "", false, false},
		{"table in a folder", "o.parquet", "", false, false},
		{"new folder in a folder", "o", "", false, false},
		{"journal", "o.jsonl", "o.jsonl.part", true, false},
		{"begun", "o.jsonl", "", true, false},
		{"begun, overwrite", "o.jsonl", "", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, path := range []string{in, dir} { // where nobody looks
				for ; path != os.TempDir() && len(path) > 1; path = filepath.Dir(path) {
					if err := os.Chmod(path, 0o755); err != nil {
						t.Fatal(err)
					}
				}
			}
			o := newOptions(e, filepath.Join(dir, c.output), in)
			if c.begun {
				run(t, e, o)
				if err := os.Rename(o.Output, o.Output+".part"); err != nil {
					t.Fatal(err)
				}
			}
			before := listed(t, dir)
			protected := filepath.Join(dir, c.protect)
			info, err := os.Stat(protected)
			if err == nil {
				err = os.Chmod(protected, info.Mode()&^0o222)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(protected, info.Mode())
			o.Overwrite = c.overwrite
			asNobody(t, func() {
				if p, err := batch.Run(t.Context(), e, o); err == nil || !strings.Contains(err.Error(), "permission denied") || strings.Contains(err.Error(), "\n") {
					t.Errorf("%+v, %v", p, err)
				}
			})
			if after := listed(t, dir); after != before {
				t.Errorf("there is %s, was %s", after, before)
			}
		})
	}
}

// listed returns the names and contents of the files in a folder.
func listed(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Name()+" "+string(data))
	}
	return strings.Join(all, "\n")
}
