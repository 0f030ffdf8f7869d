// Package atomicfile writes a file under a temporary name and gives it its
// final name only when it is complete and on disk.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// ErrExists is the error of Create and Commit, wrapped with the path, if the
// file exists and must not be replaced. It is also an fs.ErrExist.
var ErrExists error = existsError{}

type existsError struct{}

func (existsError) Error() string { return "file exists (use --overwrite to replace it)" }

func (existsError) Is(target error) bool { return target == fs.ErrExist }

// File is a file being written. Its methods may be called from several
// goroutines.
type File struct {
	path      string // where Commit puts the file, symbolic links followed
	shown     string // the path as given, for errors
	overwrite bool

	mu   sync.Mutex
	file *os.File // nil after Commit or Abort
	err  error    // the first failed write: what was written is not whole
}

// Create makes a temporary file beside path, to be renamed by Commit. Without
// overwrite, an existing path is an ErrExists, now and again at Commit. With
// it, a file's permissions are kept, and a symbolic link stays and the file it
// points to is replaced. A new file's mode is 0644 less the umask.
func Create(path string, overwrite bool) (*File, error) {
	if path == "" {
		return nil, errors.New("empty file name")
	}
	f := &File{path: path, shown: path, overwrite: overwrite}
	var mode fs.FileMode
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !overwrite:
		return nil, fmt.Errorf("%s: %w", path, ErrExists)
	default:
		if f.path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, err
		}
		info, err := os.Stat(f.path)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: cannot replace what is not a regular file", path)
		}
		mode = info.Mode().Perm()
	}
	if f.file, err = createTemp(f.path); err != nil {
		return nil, fmt.Errorf("%s: create temporary file: %w", path, Cause(err))
	}
	if mode != 0 {
		if err := f.file.Chmod(mode); err != nil {
			f.Abort()
			return nil, fmt.Errorf("%s: create temporary file: %w", path, Cause(err))
		}
	}
	return f, nil
}

// createTemp opens a new hidden file beside path. Unlike os.CreateTemp it
// leaves the mode to the umask.
func createTemp(path string) (*os.File, error) {
	dir, base := filepath.Split(path)
	if len(base) > 100 { // leave room in file systems that stop at 255 bytes
		base = strings.ToValidUTF8(base[:100], "")
	}
	for try := 0; ; try++ {
		name := fmt.Sprintf("%s.%s.%08x.tmp", dir, base, rand.Uint32())
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) && try < 100 {
			continue
		}
		return file, err
	}
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	return f.do(func(file *os.File) (int, error) { return file.Write(p) })
}

// WriteAt writes at an offset from the file's start.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	return f.do(func(file *os.File) (int, error) { return file.WriteAt(p, off) })
}

// ReadAt reads what was written.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return 0, fmt.Errorf("%s: %w", f.shown, fs.ErrClosed)
	}
	return f.file.ReadAt(p, off)
}

func (f *File) do(write func(*os.File) (int, error)) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return 0, fmt.Errorf("%s: %w", f.shown, fs.ErrClosed)
	}
	n, err := write(f.file)
	if err != nil {
		err = fmt.Errorf("write %s: %w", f.shown, Cause(err))
		if f.err == nil {
			f.err = err
		}
	}
	return n, err
}

// Commit syncs the file and gives it its name. After an error, which may be
// that of an earlier write, the temporary file is gone and the path untouched.
func (f *File) Commit() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return fmt.Errorf("%s: %w", f.shown, fs.ErrClosed)
	}
	if f.err != nil {
		f.abort()
		return f.err
	}
	temp := f.file.Name()
	if err := f.file.Sync(); err != nil {
		f.abort()
		return fmt.Errorf("sync %s: %w", f.shown, Cause(err))
	}
	err := f.file.Close()
	f.file = nil
	if err == nil {
		if f.overwrite {
			err = os.Rename(temp, f.path)
		} else {
			err = renameNew(temp, f.path)
		}
	}
	if err != nil {
		os.Remove(temp)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", f.shown, ErrExists)
		}
		return fmt.Errorf("commit %s: %w", f.shown, Cause(err))
	}
	syncDir(filepath.Dir(f.path))
	return nil
}

// Abort removes the temporary file. It does nothing after Commit or Abort, so
// it can be deferred.
func (f *File) Abort() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abort()
}

func (f *File) abort() {
	if f.file == nil {
		return
	}
	f.file.Close()
	os.Remove(f.file.Name())
	f.file = nil
}

// renameNew renames a file and fails with fs.ErrExist if the new name is
// taken. A hard link does that without a race; where the file system has none
// (FAT, some network shares), a check comes right before the rename.
func renameNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		os.Remove(from) // if it fails, a second name stays behind, no harm to the file
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}

// syncDir makes the new name durable. The file is whole without it, and some
// systems cannot sync a folder, so errors are not reported.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}

// Cause drops from an error of package os what a message around it already
// says, the name of the system call and the path: here that of the temporary
// file, which means nothing to the user.
func Cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
