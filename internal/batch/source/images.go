package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/result"
)

// Extensions are those of images that are read, which folders are searched for; a file
// that is named itself may be called anything.
var Extensions = []string{
	".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
}

// photoExtensions are those of photographs that not every build reads: elsewhere each
// is a record that says so.
var photoExtensions = []string{".heic", ".heif", ".avif"}

// namedAsImage reports whether folders and archives are searched for a file of that name.
func namedAsImage(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return slices.Contains(Extensions, ext) || slices.Contains(photoExtensions, ext)
}

// imageShard is that of images and folders that are named one by one.
func (o *Options) imageShard(names []string) Shard {
	return Shard{read: func(r *reading) {
		for _, name := range names {
			if !o.image(r, name) {
				return
			}
		}
	}}
}

// image yields the record of an image, or those of a folder's images.
func (o *Options) image(r *reading, name string) bool {
	if name == Stdin {
		return r.yield(Record{ID: name, Images: []Image{{Name: name}}})
	}
	info, err := os.Stat(name)
	switch {
	case name == "":
		return r.yield(Record{Err: result.RequestError{Err: errors.New("the name of an image is empty")}})
	case err != nil:
		return r.yield(failed(name, atomicfile.Cause(err)))
	case info.IsDir():
		w := walk{reading: r, recursive: o.Recursive, seen: map[string]bool{}}
		return w.folder(name)
	}
	return r.yield(Record{ID: name, Images: []Image{{Name: name}}})
}

// failed is the record of an image that cannot be read.
func failed(name string, err error) Record {
	return Record{ID: name, Images: []Image{{Name: name, Err: result.ImageError{Err: fmt.Errorf("%s: %w", name, err)}}}}
}

// walk is the way through a folder.
type walk struct {
	*reading
	recursive bool
	seen      map[string]bool // folders above, without symbolic links
}

// folder yields the images of a folder in the order of their names. Of a folder the
// names are held, since systems give them in any order.
func (w *walk) folder(dir string) bool {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return w.yield(failed(dir, atomicfile.Cause(err)))
	}
	if w.seen[real] { // a symbolic link to a folder above it
		return true
	}
	w.seen[real] = true
	defer delete(w.seen, real)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return w.yield(failed(dir, atomicfile.Cause(err)))
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !w.entry(dir, e) {
			return false
		}
	}
	return true
}

// entry yields what an entry of a folder stands for.
func (w *walk) entry(dir string, e os.DirEntry) bool {
	path := filepath.Join(dir, e.Name())
	kind := e.Type()
	if kind&os.ModeSymlink != 0 {
		if info, err := os.Stat(path); err == nil {
			kind = info.Mode().Type()
		}
	}
	switch {
	case kind.IsDir():
		return !w.recursive || w.folder(path)
	case !namedAsImage(path):
		return true
	case kind.IsRegular(), kind&os.ModeSymlink != 0: // a link that leads nowhere is an error when it is read
		return w.yield(Record{ID: path, Images: []Image{{Name: path}}})
	}
	return w.yield(failed(path, errors.New("not a regular file: name it itself to read it")))
}

// maxName bounds a name in a list, in bytes.
const maxName = 1 << 16

// listShard is that of the files in a list.
func (o *Options) listShard() Shard {
	return Shard{Path: o.FilesFrom, read: func(r *reading) {
		end := byte('\n')
		if o.Null {
			end = 0
		}
		o.eachLine(r, o.FilesFrom, end, maxName, func(line []byte, number int64, err error) bool {
			return o.listed(r, line, number, err)
		})
	}}
}

// listed yields what an entry of a list stands for.
func (o *Options) listed(r *reading, line []byte, number int64, err error) bool {
	switch {
	case err != nil:
		return r.yield(Record{ID: lineID(o.FilesFrom, number), Err: result.RequestError{Err: err}})
	case len(line) == 0:
		return true
	}
	return o.image(r, asFile(string(line)))
}
