// Package regular opens regular files, and nothing else that has a path, and
// notices when they are changed by others.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrChanged says, after its path, that a file is not what it was at Open.
var ErrChanged = errors.New("was changed or replaced while it was in use")

// File is an open regular file.
type File struct {
	*os.File
	path string
	info fs.FileInfo // at Open
}

// Open opens the regular file at path for reading. Anything else (a folder, a named
// pipe, a device, a socket) is an error that says what it is, and is not opened: to
// open a pipe would wait for its writer. Errors begin with the path.
func Open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = check(info)
	}
	if err != nil {
		return nil, named(path, err)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, named(path, err)
	}
	info, err = file.Stat()
	if err == nil {
		err = check(info)
	}
	if err != nil {
		file.Close()
		return nil, named(path, err)
	}
	return &File{file, path, info}, nil
}

// ReadStart returns the first n bytes of the regular file at path, or all of a shorter
// one.
func ReadStart(path string, n int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}

// check says what a file is that is not regular.
func check(info fs.FileInfo) error {
	kind := "device"
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "folder"
	case mode&fs.ModeNamedPipe != 0:
		kind = "pipe"
	case mode&fs.ModeSocket != 0:
		kind = "socket"
	}
	return fmt.Errorf("is a %s, not a regular file", kind)
}

// named puts the path before an error in place of what package os says.
func named(path string, err error) error {
	var known *fs.PathError
	if errors.As(err, &known) {
		err = known.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Size returns the size in bytes at Open.
func (f *File) Size() int64 { return f.info.Size() }

// Is reports whether path names the file, in whatever way.
func (f *File) Is(path string) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, f.info)
}

// Unchanged returns an ErrChanged if the size or the modification time differ from
// those at Open, or if another file has taken the path. It returns nil for a file
// that was deleted: its bytes last until Close.
func (f *File) Unchanged() error {
	now, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	changed := now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime())
	if there, err := os.Stat(f.path); changed || err == nil && !os.SameFile(there, f.info) {
		return fmt.Errorf("%s %w", f.path, ErrChanged)
	}
	return nil
}
