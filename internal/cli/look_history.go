package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"paligemma/internal/atomicfile"
	"paligemma/internal/regular"
)

// Most that is kept of earlier lines.
const (
	maxPast      = 1000    // lines
	maxPastBytes = 1 << 20 // of the file
)

// history is the lines that were typed, the newest last. They are in a file, too,
// where that can be written.
type history struct {
	lines []string
	file  *os.File // lines are appended to it; nil: none
}

// historyPath returns the file of the history; "" if there is no place for it.
func historyPath(getenv func(string) string) string {
	dir := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // the standard has it ignored
		if dir = getenv("HOME"); !filepath.IsAbs(dir) {
			return ""
		}
		dir = filepath.Join(dir, ".local", "state")
	}
	return filepath.Join(dir, "paligemma", "history")
}

// openHistory reads the history. What cannot be read or written is left out: a
// session goes on without.
func openHistory(getenv func(string) string) *history {
	h := &history{}
	path := historyPath(getenv)
	if path == "" || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return h
	}
	whole, err := h.read(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return h
	case !whole && h.rewrite(path) != nil:
		return h
	}
	if file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err == nil {
		h.file = file
		_ = file.Chmod(0o600)
	}
	return h
}

// read reads the file, and reports whether it is within its bounds: of a longer one
// the newest lines are taken.
func (h *history) read(path string) (whole bool, err error) {
	f, err := regular.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	begin := max(0, f.Size()-maxPastBytes)
	data := make([]byte, f.Size()-begin)
	if _, err := f.ReadAt(data, begin); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if begin > 0 { // within a line
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	for _, text := range numberedLines(data) {
		h.keep(string(text))
	}
	n := len(h.lines)
	h.trim()
	return begin == 0 && n <= 2*maxPast, nil
}

// rewrite makes the file of the lines that are kept.
func (h *history) rewrite(path string) error {
	f, err := atomicfile.Create(path, true)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := io.WriteString(f, strings.Join(h.lines, "\n")+"\n"); err != nil {
		return err
	}
	return f.Commit()
}

// keep takes a line, and reports whether it is worth it: the last one again is not,
// nor is what could steer a terminal.
func (h *history) keep(text string) bool {
	if strings.TrimSpace(text) == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) ||
		len(h.lines) > 0 && h.lines[len(h.lines)-1] == text {
		return false
	}
	h.lines = append(h.lines, text)
	return true
}

// trim drops lines beyond the bound.
func (h *history) trim() { h.lines = slices.Delete(h.lines, 0, max(0, len(h.lines)-maxPast)) }

// add takes a line that was typed.
func (h *history) add(text string) {
	if !h.keep(text) {
		return
	}
	h.trim()
	if h.file != nil {
		if _, err := h.file.WriteString(text + "\n"); err != nil {
			h.close()
		}
	}
}

// close ends the writing of the file.
func (h *history) close() {
	if h.file != nil {
		h.file.Close()
		h.file = nil
	}
}
