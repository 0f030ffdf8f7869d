package atomicfile

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openNameless opens a file in a folder that has no name and vanishes with its
// process; nil where there are none, or no way to name one later.
func openNameless(dir string) *os.File {
	file, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o644)
	if err != nil {
		return nil
	}
	if !isLinkTo(file) {
		file.Close()
		return nil
	}
	_ = tryLock(file) // for the moment in which Commit gives it a temporary name
	return file
}

// procLink is the link by which the file can be named.
func procLink(file *os.File) string {
	return "/proc/self/fd/" + strconv.Itoa(int(file.Fd()))
}

// isLinkTo reports whether /proc is there and shows the file.
func isLinkTo(file *os.File) bool {
	info, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(procLink(file))
	return err == nil && os.SameFile(info, there)
}

// linkNameless gives a file that has none a name. The error is an fs.ErrExist if
// the name is taken.
func linkNameless(file *os.File, name string) error {
	err := unix.Linkat(unix.AT_FDCWD, procLink(file), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "link", Old: "", New: name, Err: err}
	}
	return nil
}
