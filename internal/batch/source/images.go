package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/result"
)

// imageExtensions are what folders and archives are searched for.
var imageExtensions = []string{
	".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
	".heic", ".heif", ".avif",
}

// namedAsImage reports whether a file's name is that of an image.
func namedAsImage(name string) bool {
	return slices.Contains(imageExtensions, strings.ToLower(filepath.Ext(name)))
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
		in, err := o.open(o.FilesFrom)
		if err != nil {
			r.fail(err)
			return
		}
		defer in.close()
		end := byte('\n')
		if o.Null {
			end = 0
		}
		lines := newLineReader(in, end, maxName)
		for {
			line, err := lines.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil && !errors.Is(err, result.ErrTooLong) {
				r.fail(err)
				return
			}
			if !o.listed(r, line, lines.number, err) {
				return
			}
		}
	}}
}

// listed yields what an entry of a list stands for.
func (o *Options) listed(r *reading, line []byte, number int64, err error) bool {
	switch {
	case err != nil:
		return r.yield(Record{ID: lineID(o.FilesFrom, number), Err: result.RequestError{Err: err}})
	case len(line) == 0:
		return true
	case string(line) == Stdin:
		return o.image(r, "./"+Stdin)
	}
	return o.image(r, string(line))
}

// lineID is the id of a record that has none: the file, and the line from 1.
func lineID(file string, number int64) string { return fmt.Sprintf("%s#%d", file, number) }

// lineReader reads lines, the first without a byte order mark.
type lineReader struct {
	r      *bufio.Reader
	end    byte
	max    int
	number int64 // of the line, from 1
	buf    []byte
}

func newLineReader(r io.Reader, end byte, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 1<<16), end: end, max: limit}
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// next returns the next line without its end, which the last may lack; it is valid
// until the next call. A line that is too long is passed over and not held: its
// error wraps [result.ErrTooLong], and others follow.
func (l *lineReader) next() ([]byte, error) {
	l.buf, l.number = l.buf[:0], l.number+1
	long := false
	for {
		part, err := l.r.ReadSlice(l.end)
		if long = long || len(l.buf)+len(part) > l.max+2; !long {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && !long && len(l.buf) == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, atomicfile.Cause(err)
		}
		break
	}
	if long {
		return nil, fmt.Errorf("line %d: %w of %d bytes", l.number, result.ErrTooLong, l.max)
	}
	line := bytes.TrimSuffix(l.buf, []byte{l.end})
	if l.end == '\n' {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	if l.number == 1 {
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	return line, nil
}
