package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
)

// Values of --log-format.
const (
	logText = "text"
	logJSON = "json"
)

// logFile is where a log is written. Any goroutine may.
type logFile struct {
	path string // "": not a file, and always the same

	mu   sync.Mutex
	file *os.File
	w    io.Writer
}

// openLogFile opens the file at path to append to it. Without a path it is w.
func openLogFile(path string, w io.Writer) (*logFile, error) {
	l := &logFile{path: path, w: w}
	return l, l.reopen()
}

// reopen opens the file by its path: another one, after somebody has renamed it. On an
// error it stays as it is.
func (l *logFile) reopen() error {
	if l.path == "" {
		return nil
	}
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("--log-file %w", pathError(l.path, err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.w = file, file
	return nil
}

// Write writes a line.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(line)
}

// close closes the file, if there is one.
func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file, l.w = nil, io.Discard
	}
}

// newLog returns a log: of warnings and errors with -q, of more with -v.
func (a *app) newLog(w io.Writer, format string) *slog.Logger {
	level := slog.LevelInfo
	switch {
	case a.common.Quiet:
		level = slog.LevelWarn
	case a.common.Verbose:
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	if format == logJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
