package source

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// maxExpanded bounds what the braces of one argument stand for.
const maxExpanded = 1_000_000

// expandArgument returns the names that an argument stands for: what its braces give,
// of each the files that match it as a pattern. A name that exists stands for itself.
func expandArgument(arg string) ([]string, error) {
	if exists(arg) {
		return []string{arg}, nil
	}
	names, err := expandBraces(arg)
	if err != nil {
		return nil, result.RequestError{Err: err}
	}
	var all []string
	for _, name := range names {
		if strings.ContainsAny(name, "*?[") && !exists(name) {
			if found := Match(name); len(found) > 0 {
				all = append(all, found...)
				continue
			}
		}
		all = append(all, name)
	}
	return all, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Match returns the files and folders that match a pattern, sorted: none if the pattern
// is invalid, and as in a shell hidden ones only if the pattern begins with a dot. In a
// folder that exists as it is written only the last part is a pattern.
func Match(pattern string) (found []string) {
	dir, base := filepath.Split(pattern)
	paths, _ := filepath.Glob(pattern)
	if len(paths) == 0 && strings.ContainsAny(dir, "*?[") && isFolder(dir) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if ok, err := filepath.Match(base, e.Name()); ok && err == nil {
				paths = append(paths, dir+e.Name())
			}
		}
	}
	for _, path := range paths {
		if !strings.HasPrefix(filepath.Base(path), ".") || strings.HasPrefix(base, ".") {
			found = append(found, asFile(path))
		}
	}
	return found
}

// asFile returns the path of a file in such a form that it does not stand for standard
// input.
func asFile(path string) string {
	if path == Stdin {
		return "./" + path
	}
	return path
}

// expandBraces returns the texts that a text with braces stands for: {a,b} and ranges
// of numbers {1..9}, whose zeros in front stay: {000..123}. Other braces are text.
func expandBraces(text string) ([]string, error) {
	open := strings.IndexByte(text, '{')
	if open < 0 {
		return []string{text}, nil
	}
	length := strings.IndexByte(text[open:], '}')
	if length < 0 {
		return []string{text}, nil
	}
	inside, after := text[open+1:open+length], text[open+length+1:]
	rest, err := expandBraces(after)
	if err != nil {
		return nil, err
	}
	parts, err := alternatives(inside)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote.Short(text), err)
	}
	if len(parts)*len(rest) > maxExpanded {
		return nil, fmt.Errorf("%s stands for more than %d names", quote.Short(text), maxExpanded)
	}
	var all []string
	for _, part := range parts {
		for _, tail := range rest {
			all = append(all, text[:open]+part+tail)
		}
	}
	return all, nil
}

// alternatives returns what the inside of braces stands for.
func alternatives(inside string) ([]string, error) {
	first, last, ok := strings.Cut(inside, "..")
	if !ok {
		if !strings.Contains(inside, ",") {
			return []string{"{" + inside + "}"}, nil
		}
		return strings.Split(inside, ","), nil
	}
	low, err1 := strconv.ParseUint(first, 10, 62)
	high, err2 := strconv.ParseUint(last, 10, 62)
	if err1 != nil || err2 != nil {
		return []string{"{" + inside + "}"}, nil
	}
	if high < low {
		return nil, fmt.Errorf("the range {%s} is empty", inside)
	}
	if high-low >= maxExpanded {
		return nil, fmt.Errorf("the range {%s} has more than %d numbers", inside, maxExpanded)
	}
	width := 0
	if strings.HasPrefix(first, "0") || strings.HasPrefix(last, "0") {
		width = max(len(first), len(last))
	}
	var all []string
	for n := low; n <= high; n++ {
		all = append(all, fmt.Sprintf("%0*d", width, n))
	}
	return all, nil
}
