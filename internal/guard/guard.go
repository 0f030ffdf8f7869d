// Package guard ends the process with one line where a mapped file cannot be read
// any more: it was cut short while it was in use, or its disk fails. The system
// then sends SIGBUS to whatever thread reads, which is as often one of ggml's as
// one of Go's, and no Go code to return to.
//
// The handler is C code that is installed after Go's own, so it sees every fault
// first. Those outside of guarded mappings are Go's, as before. It calls only what
// may be called in a handler: poll, write and _exit.
package guard

import "paligemma/internal/quote"

// ExitCode is that of a process which the guard ends: a model that is corrupt.
const ExitCode = 4

// maxPath bounds the path in the line, in bytes.
const maxPath = 300

// line is what the handler writes.
func line(path string, terminal bool) string {
	text := "paligemma: " + quote.Line(path, maxPath) + " was cut short or cannot be read any more, while it was in use (--no-mmap reads a model into memory at the start)\n"
	if terminal {
		text = "\r\x1b[K" + text // over a progress bar
	}
	return text
}
