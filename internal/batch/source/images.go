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
		return o.folder(r, name)
	}
	return r.yield(Record{ID: name, Images: []Image{{Name: name}}})
}

// failed is the record of an image that cannot be read.
func failed(name string, err error) Record {
	return Record{ID: name, Images: []Image{{Name: name, Err: result.ImageError{Err: fmt.Errorf("%s: %w", name, err)}}}}
}

// folder yields the images of a folder.
func (o *Options) folder(r *reading, dir string) bool {
	err := Walk(dir, o.Recursive, func(e Entry) bool {
		switch {
		case e.Err != nil:
			return r.yield(failed(e.Path, e.Err))
		case e.Type.IsDir() || !namedAsImage(e.Path):
			return !r.ended
		case e.Type.IsRegular(), e.Type&os.ModeSymlink != 0: // a link that leads nowhere is an error when it is read
			return r.yield(Record{ID: e.Path, Images: []Image{{Name: e.Path}}})
		}
		return r.yield(failed(e.Path, errors.New("not a regular file: name it itself to read it")))
	})
	if err != nil {
		return r.yield(failed(dir, err))
	}
	return !r.ended
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
