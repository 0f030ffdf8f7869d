package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func put(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// want checks a file's content, and that the folder holds nothing but names.
func want(t *testing.T, path, text string, names ...string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != text {
		t.Errorf("%s holds %q (%v), want %q", filepath.Base(path), got, err, text)
	}
	wantNames(t, filepath.Dir(path), names...)
}

func wantNames(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the folder holds %q, want %q", got, names)
	}
}

// maker is Create, with temporary names from the start or without.
type maker func(path string, overwrite bool) (*File, error)

// must makes a file that is gone at the test's end.
func (m maker) must(t *testing.T, path string, overwrite bool) *File {
	t.Helper()
	f, err := m(path, overwrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Abort)
	return f
}

// TestFile runs every test on files that have no name until Commit, where the
// system has them, and on those with temporary names.
func TestFile(t *testing.T) {
	for kind, create := range map[string]maker{
		"nameless": Create,
		"named":    func(path string, overwrite bool) (*File, error) { return create(path, overwrite, false) },
	} {
		for name, test := range map[string]func(*testing.T, maker){
			"Commit":         testCommit,
			"Abort":          testAbort,
			"Exists":         testExists,
			"Appears":        testAppears,
			"Race":           testRace,
			"Mode":           testMode,
			"Symlink":        testSymlink,
			"BadPaths":       testBadPaths,
			"ReadOnlyFolder": testReadOnlyFolder,
			"FailedWrite":    testFailedWrite,
			"CommitFails":    testCommitFails,
		} {
			t.Run(kind+"/"+name, func(t *testing.T) { test(t, create) })
		}
	}
}

func testCommit(t *testing.T, create maker) {
	for _, overwrite := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		f := create.must(t, path, overwrite)
		f.Write([]byte("hello "))
		f.Write([]byte("world"))
		f.WriteAt([]byte("J"), 0)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("before Commit: %v", err)
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		f.Abort()
		want(t, path, "Jello world", "out")
		if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second Commit: %v", err)
		}
		if _, err := f.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Write after Commit: %v", err)
		}
		want(t, path, "Jello world", "out")
	}
}

func testAbort(t *testing.T, create maker) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	put(t, path, "old", 0o644)
	f := create.must(t, path, true)
	f.Write([]byte("new"))
	f.Abort()
	f.Abort()
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit after Abort: %v", err)
	}
	want(t, path, "old", "out")
}

func testExists(t *testing.T, create maker) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	put(t, path, "old", 0o644)
	_, err := create(path, false)
	if !errors.Is(err, ErrExists) || !errors.Is(err, fs.ErrExist) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--overwrite") {
		t.Errorf("the message is %q", err)
	}
	want(t, path, "old", "out")

	f := create.must(t, path, true)
	f.Write([]byte("new"))
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, path, "new", "out")
}

// testAppears: the path is taken between Create and Commit.
func testAppears(t *testing.T, create maker) {
	path := filepath.Join(t.TempDir(), "out")
	f := create.must(t, path, false)
	f.Write([]byte("new"))
	put(t, path, "other", 0o644)
	if err := f.Commit(); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	want(t, path, "other", "out")
}

// testRace: of many writers of one name, one wins and the others are told.
func testRace(t *testing.T, create maker) {
	path := filepath.Join(t.TempDir(), "out")
	var files []*File
	for range 20 {
		f := create.must(t, path, false)
		f.Write([]byte("text"))
		files = append(files, f)
	}
	var wg sync.WaitGroup
	errs := make([]error, len(files))
	for i, f := range files {
		wg.Go(func() { errs[i] = f.Commit() })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrExists) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d writers won", won)
	}
	want(t, path, "text", "out")
}

func testMode(t *testing.T, create maker) {
	if runtime.GOOS == "windows" {
		t.Skip("no such modes")
	}
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain") // what the umask makes of 0644
	file, err := os.OpenFile(plain, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	info, err := os.Stat(plain)
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(dir, "kept")
	put(t, kept, "secret", 0o600)
	for path, mode := range map[string]fs.FileMode{filepath.Join(dir, "new"): info.Mode(), kept: 0o600} {
		if err := create.must(t, path, true).Commit(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Stat(path); err != nil || got.Mode() != mode {
			t.Errorf("%s has mode %v (%v), want %v", filepath.Base(path), got.Mode(), err, mode)
		}
	}
}

func testSymlink(t *testing.T, create maker) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	target, link := filepath.Join(elsewhere, "target"), filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	// A dangling link is something that exists, and nothing to write through.
	if _, err := create(link, false); !errors.Is(err, ErrExists) {
		t.Errorf("a dangling link gives %v", err)
	}
	if _, err := create(link, true); err == nil || !strings.Contains(err.Error(), link+": cannot follow this link: ") {
		t.Errorf("a dangling link is overwritten: %v", err)
	}
	put(t, target, "old", 0o644)
	if _, err := create(link, false); !errors.Is(err, ErrExists) {
		t.Errorf("a link gives %v", err)
	}
	f := create.must(t, link, true)
	f.Write([]byte("new"))
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, target, "new", "target")
	if got, err := os.Readlink(link); err != nil || got != target {
		t.Errorf("the link is %q (%v)", got, err)
	}
	wantNames(t, dir, "link")
}

func testBadPaths(t *testing.T, create maker) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"empty": "", "a folder": dir, "in no folder": filepath.Join(dir, "none", "out"),
		"a new folder": filepath.Join(dir, "new") + string(filepath.Separator),
	} {
		for _, overwrite := range []bool{false, true} {
			f, err := create(path, overwrite)
			if err == nil {
				f.Abort()
				t.Errorf("%s is accepted", name)
			} else if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), ".tmp") {
				t.Errorf("%s: the message is %q", name, err)
			}
		}
	}
	wantNames(t, dir)

	long := filepath.Join(dir, strings.Repeat("ü", 120))
	if err := create.must(t, long, false).Commit(); err != nil {
		t.Errorf("a name of 240 bytes: %v", err)
	}
}

func testReadOnlyFolder(t *testing.T, create maker) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	f, err := create(filepath.Join(dir, "out"), false)
	if err == nil {
		f.Abort()
		t.Skip("this user may write to a read-only folder")
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

// testFailedWrite: once a write has failed the file is never committed.
func testFailedWrite(t *testing.T, create maker) {
	path := filepath.Join(t.TempDir(), "out")
	f := create.must(t, path, false)
	if _, err := f.WriteAt([]byte("x"), -1); err == nil {
		t.Fatal("no error")
	} else if strings.Contains(err.Error(), ".tmp") || !strings.Contains(err.Error(), path) {
		t.Errorf("the message is %q", err)
	}
	if _, err := f.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil {
		t.Error("committed")
	}
	wantNames(t, filepath.Dir(path))
}

// testCommitFails: the folder is gone, or the name has become a folder.
func testCommitFails(t *testing.T, create maker) {
	for _, overwrite := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		f := create.must(t, path, overwrite)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(); err == nil {
			t.Error("committed over a folder")
		} else if strings.Contains(err.Error(), ".tmp") {
			t.Errorf("the message is %q", err)
		}
		wantNames(t, dir, "out")
	}
}
