package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// stdinName is the IMAGE that stands for standard input.
const stdinName = "-"

// input is one image to be read, or the reason why there is none.
type input struct {
	path string
	err  error
}

// expandImages lists the images that the arguments and --files-from stand for,
// in order: a file or - is itself, a directory the images in it by name, a
// pattern the files that match. What cannot be found is an input with an error.
func (a *app) expandImages(ctx context.Context, args []string, o imageOptions) ([]input, error) {
	var inputs []input
	stdin := 0
	for _, arg := range args {
		if arg == stdinName {
			stdin++
		}
		inputs = append(inputs, a.expandImage(ctx, arg, true, o)...)
	}
	if o.FilesFrom == stdinName {
		stdin++
	}
	if stdin > 1 {
		return nil, usageError{errors.New("standard input (-) can be read only once")}
	}
	if o.FilesFrom == "" {
		return inputs, nil
	}
	names, err := a.readList(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		inputs = append(inputs, a.expandImage(ctx, name, false, o)...)
	}
	return inputs, nil
}

// maxList bounds a list of files, in bytes.
const maxList = 256 << 20

// readList reads the names in --files-from.
func (a *app) readList(ctx context.Context, o imageOptions) ([]string, error) {
	shown := o.FilesFrom
	if shown == stdinName {
		shown = "standard input"
	}
	data, err := a.readAll(ctx, o.FilesFrom, maxList)
	if err != nil {
		return nil, imageError{fmt.Errorf("--files-from %s: %w", shown, err)}
	}
	var names []string
	if o.Null {
		for part := range bytes.SplitSeq(data, []byte{0}) {
			names = append(names, string(part))
		}
	} else {
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			names = append(names, lines.Text())
		}
		if err := lines.Err(); err != nil {
			return nil, imageError{fmt.Errorf("--files-from %s: %w", shown, err)}
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	if len(names) == 0 {
		return nil, imageError{fmt.Errorf("--files-from %s: there are no names in it", shown)}
	}
	return names, nil
}

// expandImage lists the images of one argument. Entries of a list are neither
// patterns nor -.
func (a *app) expandImage(ctx context.Context, arg string, argument bool, o imageOptions) []input {
	if argument && arg == stdinName {
		return []input{{path: arg}}
	}
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		return a.expandFolder(ctx, arg, o.Recursive)
	case err == nil:
		return []input{{path: notStdin(arg)}}
	case !argument || !strings.ContainsAny(arg, "*?["):
		return []input{{arg, fmt.Errorf("%s: %w", arg, cause(err))}}
	}
	found := matches(arg)
	if len(found) > 0 {
		return found
	}
	if !strings.ContainsAny(arg, "*?") { // a [ may well be a part of a name
		return []input{{arg, fmt.Errorf("%s: %w", arg, cause(err))}}
	}
	return []input{{arg, fmt.Errorf("%s: no file matches", arg)}}
}

// matches lists the files that match a pattern; none if it is no valid one. In a
// folder that exists as it is written only the last part is a pattern.
func matches(pattern string) (found []input) {
	dir, base := filepath.Split(pattern)
	paths, _ := filepath.Glob(pattern)
	if info, err := os.Stat(dir); len(paths) == 0 && strings.ContainsAny(dir, "*?[") && err == nil && info.IsDir() {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if ok, err := filepath.Match(base, e.Name()); ok && err == nil {
				paths = append(paths, dir+e.Name())
			}
		}
	}
	for _, path := range paths {
		if strings.HasPrefix(filepath.Base(path), ".") && !strings.HasPrefix(base, ".") {
			continue // as in a shell
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			found = append(found, foundInput(notStdin(path), info))
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

// foundInput returns the input for a file that a folder or a pattern led to; info
// is nil if it is not known. A pipe or a device, which might be read forever, is
// read only if it is named itself.
func foundInput(path string, info os.FileInfo) input {
	if info != nil && !info.Mode().IsRegular() {
		return input{path, fmt.Errorf("%s: not a regular file: name it itself to read it", path)}
	}
	return input{path: path}
}

// readAll reads a file, or standard input for "-", of at most limit bytes. It
// returns when ctx ends, even if a pipe or a terminal gives nothing.
func (a *app) readAll(ctx context.Context, path string, limit int64) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := readLimited(path, a.In, limit)
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// errTooLong is wrapped by errors about files beyond a limit.
var errTooLong = errors.New("more than the limit")

func readLimited(path string, stdin io.Reader, limit int64) ([]byte, error) {
	r := stdin
	if path != stdinName {
		f, err := os.Open(path)
		if err != nil {
			return nil, cause(err)
		}
		defer f.Close()
		r = f
		if info, err := f.Stat(); err == nil && info.Size() > limit {
			return nil, fmt.Errorf("%d bytes are %w of %d", info.Size(), errTooLong, limit)
		}
	}
	return readAtMost(r, limit)
}

// readAtMost reads everything, unless it is more than limit bytes or nothing.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, cause(err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%w of %d bytes", errTooLong, limit)
	case len(data) == 0:
		return nil, errors.New("there is nothing in it")
	}
	return data, nil
}
