package atomicfile

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnlinkable: a file system makes files without a name but cannot name them.
func TestUnlinkable(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		if overwrite {
			put(t, path, "old", 0o600)
		}
		f := maker(Create).must(t, path, overwrite)
		if f.temp != "" {
			t.Skip("this file system has no files without a name")
		}
		// With O_EXCL a file can never be linked.
		never, err := os.OpenFile(dir, unix.O_TMPFILE|unix.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.file.Close()
		f.file = never
		f.Write([]byte("text"))
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		want(t, path, "text", "out")
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
}
