package source

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"paligemma/internal/atomicfile"
)

// Entry is a file or a folder in a folder.
type Entry struct {
	Path string
	Type fs.FileMode // of what a symbolic link leads to; that of a link where it leads nowhere
	Err  error       // why the folder cannot be searched
}

// Walk calls visit for what is in a folder, in the order of names, and if recursive in
// those in it, until it returns false; hidden names are left out. A folder that is reached
// several ways, or by a symbolic link to one above it, is searched once. Of a folder the
// names are held, since systems give them in any order. The error is about dir itself.
func Walk(dir string, recursive bool, visit func(Entry) bool) error {
	w := walk{recursive: recursive, visit: visit, seen: map[string]bool{}}
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		_, err = w.search(dir, real)
	}
	return atomicfile.Cause(err)
}

// walk is the way through a folder.
type walk struct {
	recursive bool
	visit     func(Entry) bool
	seen      map[string]bool // folders, without symbolic links
}

// search goes through a folder, whose path without symbolic links is real. It reports
// whether more is wanted.
func (w *walk) search(dir, real string) (more bool, err error) {
	w.seen[real] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		return true, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !w.entry(dir, real, e) {
			return false, nil
		}
	}
	return true, nil
}

// entry goes through an entry of a folder. It reports whether more is wanted.
func (w *walk) entry(dir, real string, e os.DirEntry) bool {
	found := Entry{Path: filepath.Join(dir, e.Name()), Type: e.Type()}
	inside := filepath.Join(real, e.Name())
	if found.Type&fs.ModeSymlink != 0 {
		if info, err := os.Stat(found.Path); err == nil {
			found.Type = info.Mode().Type()
			if inside, err = filepath.EvalSymlinks(found.Path); err != nil {
				return true
			}
		}
	}
	if !w.visit(found) {
		return false
	}
	if !found.Type.IsDir() || !w.recursive || w.seen[inside] {
		return true
	}
	more, err := w.search(found.Path, inside)
	if err != nil {
		found.Err = atomicfile.Cause(err)
		return w.visit(found)
	}
	return more
}
