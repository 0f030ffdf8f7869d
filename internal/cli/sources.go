package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	inputs "paligemma/internal/batch/source"
	"paligemma/internal/result"
)

// stdinName is the IMAGE that stands for standard input.
const stdinName = "-"

// source is where an image comes from, or the reason why it cannot be read.
type source struct {
	path   string
	err    error
	stream bool   // any number of images, one after the other
	data   []byte // of the image, where it is not a file
}

// shown returns the source's name for messages.
func (s source) shown() string {
	if s.path == stdinName {
		return "standard input"
	}
	if number, ok := strings.CutPrefix(s.path, streamedPrefix); ok && s.stream {
		return "standard input, picture " + number
	}
	return s.path
}

// expandImages lists the images that the arguments and --files-from stand for,
// in order: a file or - is itself, a directory the images in it by name, a
// pattern the files that match. What cannot be found is a source with an error.
func (a *app) expandImages(ctx context.Context, args []string, o imageOptions) ([]source, error) {
	var sources []source
	stdin := 0
	for _, arg := range args {
		if arg == stdinName {
			stdin++
			a.noteWaiting(arg)
		}
		sources = append(sources, a.expandImage(ctx, arg, true, o)...)
	}
	if o.FilesFrom == stdinName {
		stdin++
	}
	if o.Stream && !slices.Contains(args, stdinName) {
		return nil, usageError{errors.New("--stream-images needs - among the images: the stream is standard input")}
	}
	if stdin > 1 {
		return nil, errStdinTwice
	}
	if o.FilesFrom == "" {
		return sources, nil
	}
	names, err := a.readList(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		sources = append(sources, a.expandImage(ctx, name, false, o)...)
	}
	return sources, nil
}

// paths reports whether text has the paths of images: those of several, and of one
// that a folder, a pattern, a list or a stream led to, as grep does.
func (o *imageOptions) paths(args []string, sources []source) bool {
	switch {
	case o.WithPath || o.NoPath:
		return o.WithPath
	case o.Stream:
		return true
	case len(sources) == 1 && len(args) == 1 && o.FilesFrom == "":
		return sources[0].path != notStdin(args[0]) && args[0] != stdinName
	}
	return true
}

// maxList bounds a list of files, in bytes.
const maxList = 256 << 20

// readList reads the names in --files-from.
func (a *app) readList(ctx context.Context, o imageOptions) ([]string, error) {
	shown := source{path: o.FilesFrom}.shown()
	a.noteWaiting(o.FilesFrom)
	data, err := a.readAll(ctx, o.FilesFrom, maxList)
	if err != nil {
		return nil, result.ImageError{Err: fmt.Errorf("--files-from %s: %w", shown, err)}
	}
	var names []string
	if o.Null {
		for part := range bytes.SplitSeq(data, []byte{0}) {
			if len(part) > 0 {
				names = append(names, string(part))
			}
		}
	} else if names, err = splitLines(data); err != nil {
		return nil, result.ImageError{Err: fmt.Errorf("--files-from %s, %w", shown, err)}
	}
	if len(names) == 0 {
		return nil, result.ImageError{Err: fmt.Errorf("--files-from %s lists no files", shown)}
	}
	return names, nil
}

// expandImage lists the images of one argument. Entries of a list are neither
// patterns nor -.
func (a *app) expandImage(ctx context.Context, arg string, argument bool, o imageOptions) []source {
	if argument && arg == stdinName {
		return []source{{path: arg, stream: o.Stream}}
	}
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		return a.expandFolder(ctx, arg, o.Recursive)
	case err == nil:
		return []source{{path: notStdin(arg)}}
	case !argument || !strings.ContainsAny(arg, "*?["):
		return []source{{path: arg, err: pathError(arg, err)}}
	}
	found := matches(arg)
	if len(found) > 0 {
		return found
	}
	if !strings.ContainsAny(arg, "*?") { // a [ may well be a part of a name
		return []source{{path: arg, err: pathError(arg, err)}}
	}
	return []source{{path: arg, err: fmt.Errorf("%s: no file matches", arg)}}
}

// matches lists the files that match a pattern.
func matches(pattern string) (found []source) {
	for _, path := range inputs.Match(pattern) {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			found = append(found, source{path: path})
		case !info.IsDir():
			found = append(found, foundSource(path, info.Mode().Type()))
		}
	}
	return found
}

// notStdin returns the path of a file in such a form that it does not stand for
// standard input.
func notStdin(path string) string {
	if path == stdinName {
		return "./" + path
	}
	return path
}

// foundSource returns the source of a file of a type that a folder or a pattern led to. A
// pipe or a device, which might be read forever, is read only if it is named itself.
func foundSource(path string, kind fs.FileMode) source {
	if !kind.IsRegular() && kind&fs.ModeSymlink == 0 { // a link that leads nowhere is an error when it is read
		return source{path: path, err: fmt.Errorf("%s: not a regular file: name it itself to read it", path)}
	}
	return source{path: path}
}
