package atomicfile

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"paligemma/internal/emulated"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// childVariable makes the test binary a process that writes a file: its value is
// how it ends.
const childVariable = "ATOMICFILE_TEST_CHILD"

func TestMain(m *testing.M) {
	if end := os.Getenv(childVariable); end != "" {
		child(end, os.Args[1], os.Args[2] == "nameless")
	}
	os.Exit(m.Run())
}

// child begins two files and ends without Commit or Abort.
func child(end, path string, nameless bool) {
	for _, p := range []string{path, path + "2"} {
		f, err := create(p, true, nameless)
		if err == nil {
			_, err = f.Write(make([]byte, 1000))
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	if end == "RemoveAll" {
		RemoveAll(time.Second)
		os.Exit(0)
	}
	fmt.Println("ready")
	select {}
}

// startChild returns when the child has begun its files.
func startChild(t *testing.T, path, kind string) *exec.Cmd {
	t.Helper()
	cmd := emulated.Command(os.Args[0], path, kind)
	cmd.Env = append(os.Environ(), childVariable+"=wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd
}

// hidden lists the temporary files in a folder.
func hidden(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestKilled: a process that is killed leaves nothing, or what the next Create of
// the same output removes; never what a living one holds.
func TestKilled(t *testing.T) {
	for _, kind := range []string{"nameless", "named"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "out")
			cmd := startChild(t, path, kind)
			alive := len(hidden(t, dir))
			maker(Create).must(t, path, false)
			if left := len(hidden(t, dir)); left != alive {
				t.Errorf("of %d temporary files of a living process %d are left", alive, left)
			}
			cmd.Process.Kill()
			cmd.Wait()
			forgetFolders()
			for _, p := range []string{path, path + "2"} {
				f, err := Create(p, false)
				if err != nil {
					t.Fatal(err)
				}
				f.Abort()
			}
			wantNames(t, dir)
		})
	}
}

// forgetFolders makes Create list folders anew, as another process would.
func forgetFolders() {
	names.Lock()
	defer names.Unlock()
	clear(names.stale)
}

// TestStale: only what looks like a temporary file of the output is removed.
func TestStale(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("ü", 120)
	for _, name := range []string{
		".out.0123abcd.tmp", ".out.00000000.tmp", "." + tempBase(long) + ".0123abcd.tmp",
		".out2.0123abcd.tmp", ".out.0123abcd.tm", ".out.0123abc.tmp", "out.0123abcd.tmp", ".out.0123ABCD.tmp",
	} {
		put(t, filepath.Join(dir, name), "old", 0o644)
	}
	if err := os.Mkdir(filepath.Join(dir, ".out.0123abce.tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"out", long} {
		t.Run(name, func(t *testing.T) {
			f, err := Create(filepath.Join(dir, name), false)
			if err != nil {
				t.Fatal(err)
			}
			f.Abort()
		})
	}
	wantNames(t, dir, ".out.0123ABCD.tmp", ".out.0123abc.tmp", ".out.0123abcd.tm", ".out.0123abce.tmp", ".out2.0123abcd.tmp", "out.0123abcd.tmp")
}

// TestRemoveAll: a process that ends in a hurry leaves nothing.
func TestRemoveAll(t *testing.T) {
	for _, kind := range []string{"nameless", "named"} {
		dir := t.TempDir()
		cmd := emulated.Command(os.Args[0], filepath.Join(dir, "out"), kind)
		cmd.Env = append(os.Environ(), childVariable+"=RemoveAll")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %q, %v", kind, out, err)
		}
		wantNames(t, dir)
	}
}
