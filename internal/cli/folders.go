package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	inputs "paligemma/internal/batch/source"
)

// imageExtensions are what a folder is searched for.
var imageExtensions = inputs.Extensions

// otherExtensions are those of pictures that are not read: a folder says how many
// of them it has.
var otherExtensions = []string{
	".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".psd", ".psb", ".svg", ".svgz", ".eps", ".ico", ".icns", ".cur",
	".tga", ".exr", ".hdr", ".qoi", ".dds", ".pcx", ".xcf", ".xbm", ".xpm", ".pam", ".pfm", ".sgi", ".fits", ".dcm", ".wmf", ".emf",
	".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw",
}

// namedAsPicture reports whether a path has the extension of a picture, read or not.
func namedAsPicture(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return slices.Contains(imageExtensions, ext) || slices.Contains(otherExtensions, ext)
}

// folderSearch is what is found in a folder and, if recursive, in those in it.
type folderSearch struct {
	recursive bool
	found     []source
	folders   int            // in the folder
	skipped   map[string]int // pictures of other kinds, by extension
}

// expandFolder lists the images of a folder in the order of their names.
func (a *app) expandFolder(ctx context.Context, dir string, recursive bool) []source {
	s := &folderSearch{recursive: recursive, skipped: map[string]int{}}
	err := inputs.Walk(dir, recursive, func(e inputs.Entry) bool {
		s.add(e)
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return []source{{path: dir, err: pathError(dir, err)}}
	}
	if len(s.found) == 0 {
		return []source{{path: dir, err: s.nothing(dir)}}
	}
	s.noteSkipped(a, dir)
	return s.found
}

// add adds what is in a folder.
func (s *folderSearch) add(e inputs.Entry) {
	ext := strings.ToLower(filepath.Ext(e.Path))
	switch {
	case e.Err != nil:
		s.found = append(s.found, source{path: e.Path, err: pathError(e.Path, e.Err)})
	case e.Type.IsDir():
		s.folders++
	case slices.Contains(imageExtensions, ext):
		s.found = append(s.found, foundSource(e.Path, e.Type))
	case slices.Contains(otherExtensions, ext):
		s.skipped[ext]++
	}
}

// nothing says what a folder without images has instead.
func (s *folderSearch) nothing(dir string) error {
	text := fmt.Sprintf("%s: no images in this folder (%s)", dir, strings.Join(imageExtensions, " "))
	if len(s.skipped) > 0 {
		text += "; it has " + s.summary()
	}
	if s.folders > 0 && !s.recursive {
		text += fmt.Sprintf("; -r searches its folders (%d), too", s.folders)
	}
	return errors.New(text)
}

// summary counts the pictures that are passed over, and names some of their
// extensions, the most frequent first.
func (s *folderSearch) summary() string {
	const most = 5
	total := 0
	var kinds []string
	for ext, n := range s.skipped {
		total += n
		kinds = append(kinds, ext)
	}
	slices.SortFunc(kinds, func(a, b string) int {
		if d := s.skipped[b] - s.skipped[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	if len(kinds) > most {
		kinds = append(kinds[:most], "…")
	}
	return fmt.Sprintf("pictures of other kinds: %d (%s)", total, strings.Join(kinds, " "))
}

func (s *folderSearch) noteSkipped(a *app, dir string) {
	if len(s.skipped) > 0 {
		a.note("%s: passed over %s", dir, s.summary())
	}
}
