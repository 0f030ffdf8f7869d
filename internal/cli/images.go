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

// imageExtensions are what a directory is searched for; a file that is named
// itself may be called anything.
var imageExtensions = []string{".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp"}

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
		inputs = append(inputs, expandImage(arg, true)...)
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
		inputs = append(inputs, expandImage(name, false)...)
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
func expandImage(arg string, argument bool) []input {
	if argument && arg == stdinName {
		return []input{{path: arg}}
	}
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		return expandDir(arg)
	case err == nil:
		return []input{{path: arg}}
	case !argument || !strings.ContainsAny(arg, "*?["):
		return []input{{arg, fmt.Errorf("%s: %w", arg, cause(err))}}
	}
	matches, err := filepath.Glob(arg)
	if err != nil {
		return []input{{arg, fmt.Errorf("%s: %w", arg, err)}}
	}
	var found []input
	hidden := strings.HasPrefix(filepath.Base(arg), ".")
	for _, match := range matches {
		if strings.HasPrefix(filepath.Base(match), ".") && !hidden {
			continue // as in a shell
		}
		if info, err := os.Stat(match); err != nil || !info.IsDir() {
			found = append(found, input{path: match})
		}
	}
	if len(found) == 0 {
		return []input{{arg, fmt.Errorf("%s: no file matches", arg)}}
	}
	return found
}

func expandDir(dir string) []input {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []input{{dir, fmt.Errorf("%s: %w", dir, cause(err))}}
	}
	var found []input
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(dir, name)
		if strings.HasPrefix(name, ".") || !slices.Contains(imageExtensions, strings.ToLower(filepath.Ext(name))) {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		found = append(found, input{path: path})
	}
	if len(found) == 0 {
		return []input{{dir, fmt.Errorf("%s: there are no images in this folder (%s)", dir, strings.Join(imageExtensions, " "))}}
	}
	return found
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
			return nil, fmt.Errorf("%d bytes are more than the limit of %d", info.Size(), limit)
		}
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, cause(err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("more than the limit of %d bytes", limit)
	case len(data) == 0:
		return nil, errors.New("there is nothing in it")
	}
	return data, nil
}
