// Package atomicfile writes a file without a name, or under a temporary one, and
// gives it its final name only when it is complete and on disk.
//
// Where the system has files without a name (O_TMPFILE of Linux), nothing is left
// of one whose process was killed. Elsewhere a temporary file lies next to the
// output, locked by its process; Create removes those that no process holds.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
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
	shown     string // the path as the caller wrote it, for errors
	overwrite bool

	mu   sync.Mutex
	file *os.File // nil after Commit or Abort
	temp string   // the temporary name; "" while it has none
	err  error    // the first failed write: what was written is not whole
}

// Create begins a file that Commit will put at path. Without overwrite, an
// existing path is an ErrExists, now and again at Commit. With it, a file's
// permissions are kept, and a symbolic link stays and the file it points to is
// replaced. A new file's mode is 0644 less the umask. Temporary files that killed
// processes left of the same output are removed.
func Create(path string, overwrite bool) (*File, error) {
	return create(path, overwrite, true)
}

// create is Create. Without nameless the file has a temporary name from the start.
func create(path string, overwrite, nameless bool) (*File, error) {
	if path == "" {
		return nil, errors.New("empty file name")
	}
	f := &File{path: path, shown: path, overwrite: overwrite}
	mode, err := f.target()
	if err != nil {
		return nil, err
	}
	removeStale(f.path)
	if nameless {
		f.file = openNameless(filepath.Dir(f.path))
	}
	if f.file == nil {
		if f.file, err = openNamed(f.path); err != nil {
			return nil, fmt.Errorf("%s: create temporary file: %w", path, Cause(err))
		}
		f.temp = f.file.Name()
	}
	if mode != 0 {
		if err := f.file.Chmod(mode); err != nil {
			f.Abort()
			return nil, fmt.Errorf("%s: create temporary file: %w", path, Cause(err))
		}
	}
	return f, nil
}

// target looks at what is at the path now. It returns the permissions of a file
// that will be replaced, else 0.
func (f *File) target() (mode fs.FileMode, err error) {
	_, err = os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if os.IsPathSeparator(f.path[len(f.path)-1]) {
			return 0, fmt.Errorf("%s: names a folder, not a file", f.path)
		}
		return 0, nil
	case err != nil:
		return 0, err
	case !f.overwrite:
		return 0, fmt.Errorf("%s: %w", f.path, ErrExists)
	}
	if f.path, err = filepath.EvalSymlinks(f.path); err != nil {
		return 0, fmt.Errorf("%s: cannot follow this link: %w", f.shown, Cause(err))
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s: cannot replace what is not a regular file", f.shown)
	}
	return info.Mode().Perm(), nil
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
	if err := f.file.Sync(); err != nil {
		f.abort()
		return fmt.Errorf("sync %s: %w", f.shown, Cause(err))
	}
	if err := f.publish(); err != nil {
		f.abort()
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", f.shown, ErrExists)
		}
		return fmt.Errorf("commit %s: %w", f.shown, Cause(err))
	}
	f.file.Close() // it is on disk already
	f.file = nil
	syncDir(filepath.Dir(f.path))
	return nil
}

// publish gives the file its name.
func (f *File) publish() error {
	if f.temp == "" {
		err := f.link()
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
		// A file system that makes files without a name but cannot name them.
		if err := f.copyToNamed(); err != nil {
			return err
		}
	}
	names.Lock()
	defer names.Unlock()
	if runtime.GOOS == "windows" { // which renames no open file
		f.file.Close()
	}
	rename := renameNew
	if f.overwrite {
		rename = os.Rename
	}
	if err := rename(f.temp, f.path); err != nil {
		return err
	}
	delete(names.open, f.temp)
	return nil
}

// link names a file that has no name. The error is an fs.ErrExist if the path is
// taken and must not be overwritten.
func (f *File) link() error {
	names.Lock()
	defer names.Unlock()
	err := linkNameless(f.file, f.path)
	if !errors.Is(err, fs.ErrExist) || !f.overwrite {
		return err
	}
	// A link cannot replace a file: a rename can.
	var temp string
	for range maxTries {
		temp = tempName(f.path)
		if err = linkNameless(f.file, temp); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("no temporary name: %v", err) // not an fs.ErrExist of the path
	}
	if err := os.Rename(temp, f.path); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}

// copyToNamed goes on with a copy of the file that has a temporary name.
func (f *File) copyToNamed() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	named, err := openNamed(f.path)
	if err != nil {
		return err
	}
	if err = named.Chmod(info.Mode().Perm()); err == nil {
		_, err = io.Copy(named, io.NewSectionReader(f.file, 0, info.Size()))
	}
	if err == nil {
		err = named.Sync()
	}
	f.file.Close()
	f.file, f.temp = named, named.Name()
	return err
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
	f.file = nil
	if f.temp != "" {
		removeNamed(f.temp)
	}
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
