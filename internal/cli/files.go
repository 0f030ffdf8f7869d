package cli

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/draw"
	"paligemma/internal/units"
)

// files are the files that a run writes. None is written twice, or over one that the
// run reads.
type files struct {
	overwrite bool
	inputs    []os.FileInfo
	written   map[string]bool
}

func newFiles(overwrite bool, inputs []string) *files {
	f := &files{overwrite: overwrite, written: map[string]bool{}}
	for _, path := range inputs {
		if info, err := os.Stat(path); err == nil && path != stdinName {
			f.inputs = append(f.inputs, info)
		}
	}
	return f
}

// check says why path must not be written.
func (f *files) check(path string) error {
	if _, err := os.Lstat(path); err != nil || path == stdinName {
		return nil // it is new; whether it can be made is seen when it is
	}
	if info, err := os.Stat(path); err == nil {
		for _, in := range f.inputs {
			if os.SameFile(in, info) {
				return fmt.Errorf("%s: this file is an input and never overwritten", path)
			}
		}
	}
	if !f.overwrite {
		return fmt.Errorf("%s: %w", path, atomicfile.ErrExists)
	}
	return nil
}

// write makes a picture, whole or not at all.
func (f *files) write(path string, encode func(io.Writer) error) error {
	if f.written[path] {
		return fmt.Errorf("%s: this run has written it already", path)
	}
	if err := f.check(path); err != nil {
		return err
	}
	out, err := atomicfile.Create(path, f.overwrite)
	if err != nil {
		return err
	}
	defer out.Abort()
	if err := encode(out); err != nil {
		return err
	}
	f.written[path] = true
	return out.Commit()
}

// draw writes a drawing in the format that its name asks for.
func (f *files) draw(path string, img image.Image) error {
	format, err := draw.FormatOf(path)
	if err != nil {
		return err
	}
	return f.write(path, func(w io.Writer) error { return draw.Encode(w, img, format) })
}

// fileNames returns what the files about images are called: the images' names
// without folder and extension, told apart by numbers where they are the same
// (in a file system that ignores case, too).
func fileNames(paths []string) []string {
	names := make([]string, len(paths))
	used := map[string]bool{}
	for i, path := range paths {
		base := filepath.Base(path)
		name := strings.TrimSuffix(base, filepath.Ext(base))
		switch {
		case path == stdinName:
			name = "stdin"
		case name == "":
			name = "image"
		}
		names[i] = name
		for n := 2; used[strings.ToLower(names[i])]; n++ {
			names[i] = fmt.Sprintf("%s-%d", name, n)
		}
		used[strings.ToLower(names[i])] = true
	}
	return names
}

// namePlace is what stands for an image's name in --draw.
const namePlace = "{}"

// drawingPaths returns the files that --draw makes of images with these names. folder is
// to be made first; "" if there is none.
func drawingPaths(out string, names []string) (paths []string, folder string, err error) {
	pattern := out
	if out == stdinName {
		if len(names) > 1 {
			return nil, "", usageError{fmt.Errorf("--draw - is one picture, but there are %s images: name a folder, or a pattern such as drawn/%s.jpg", units.Number(len(names)), namePlace)}
		}
		return []string{out}, "", nil
	}
	switch info, err := os.Stat(out); {
	case strings.Contains(out, namePlace):
		folder = filepath.Dir(out)
		if strings.Contains(folder, namePlace) {
			return nil, "", usageError{fmt.Errorf("--draw %s: %s can stand in a file's name only", out, namePlace)}
		}
	case err == nil && info.IsDir(), filepath.Ext(out) == "", os.IsPathSeparator(out[len(out)-1]):
		folder, pattern = out, filepath.Join(out, namePlace+".png")
	case len(names) > 1:
		return nil, "", usageError{fmt.Errorf("--draw %s is one file, but there are %s images: name a folder, or a pattern such as drawn/%s.jpg", out, units.Number(len(names)), namePlace)}
	default:
		pattern, folder = out, filepath.Dir(out)
		names = []string{""}
	}
	if _, err := draw.FormatOf(pattern); err != nil {
		return nil, "", usageError{fmt.Errorf("--draw %w", err)}
	}
	dir, base := filepath.Split(pattern)
	for _, name := range names {
		paths = append(paths, dir+strings.ReplaceAll(base, namePlace, name))
	}
	return paths, folder, nil
}

// maskPath is the file of the mask of object n, counted from 1.
func maskPath(dir, name string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, n))
}

var maskName = regexp.MustCompile(`^(.*)-[0-9]+\.png$`)

// checkMaskDir finds masks in the folder that would be in the way. A folder that
// does not exist is made later.
func (f *files) checkMaskDir(dir string, names []string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("--mask-dir %s: %w", dir, cause(err))
	}
	named := map[string]bool{}
	for _, name := range names {
		named[name] = true
	}
	for _, e := range entries {
		if m := maskName.FindStringSubmatch(e.Name()); m != nil && named[m[1]] {
			if err := f.check(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
