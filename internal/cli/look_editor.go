package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"golang.org/x/term"
)

const lookPromptSign = "> "

// Keys, as a terminal in raw mode gives them. Ctrl-C becomes a key that the line
// editor leaves to its callback, and the end of the line.
const (
	ctrlC     = 0x03
	keyCancel = 0x1f
)

// editor reads lines from a terminal, which is in raw mode only meanwhile: while a
// line is answered Ctrl-C is a signal as always.
type editor struct {
	in       *os.File
	out      io.Writer
	terminal *term.Terminal
	display  *display
	pending  []byte // keys that are not yet taken
	canceled bool   // the line that is read
	past     *history
}

func newEditor(in *os.File, out io.Writer, past *history) *editor {
	e := &editor{in: in, out: out, past: past, display: &display{out: out, width: 80}}
	e.terminal = newTerminal(keyReader{e}, e.display)
	e.terminal.History = editedHistory{e}
	e.terminal.AutoCompleteCallback = e.key
	return e
}

// newTerminal returns a line editor that reads keys and shows the line on a display.
func newTerminal(keys io.Reader, d *display) *term.Terminal {
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys, d}, lookPromptSign)
	_ = t.SetSize(endless, 1)
	return t
}

// lines returns the lines until Ctrl-D or the end of ctx.
func (e *editor) lines(ctx context.Context) iter.Seq[line] {
	return func(yield func(line) bool) {
		for number := 1; ; number++ {
			text, err := e.read(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, io.EOF):
				fmt.Fprintln(e.out)
				return
			case e.canceled:
				if text == "^C" {
					fmt.Fprintln(e.out, "Ctrl-D or :quit ends")
				}
				continue
			}
			if !yield(line{number, text, cause(err)}) || err != nil {
				return
			}
		}
	}
}

// read reads a line. The terminal is as before when it returns, even where ctx ends
// first and the read is left behind.
func (e *editor) read(ctx context.Context) (string, error) {
	state, err := term.MakeRaw(int(e.in.Fd()))
	if err != nil {
		return "", err
	}
	defer func() { _ = term.Restore(int(e.in.Fd()), state) }()
	e.canceled = false
	e.resize()
	return await(ctx, e.terminal.ReadLine)
}

// resize tells the display how wide the terminal is now.
func (e *editor) resize() {
	if width, err := terminalWidth(e.in); err == nil && width > 0 {
		e.display.resize(width)
	}
}

// key handles a key that the line editor does not: Ctrl-C leaves the line as it is.
func (e *editor) key(text string, _ int, key rune) (string, int, bool) {
	if key != keyCancel {
		return "", 0, false
	}
	e.canceled = true
	text += "^C"
	return text, len(text), true
}

// keyReader gives the line editor the keys.
type keyReader struct{ e *editor }

// Read reads keys, with Ctrl-C in the form that the line editor passes on.
func (k keyReader) Read(p []byte) (int, error) {
	e := k.e
	for len(e.pending) == 0 {
		var keys [256]byte
		n, err := e.in.Read(keys[:])
		if n == 0 && err != nil {
			return 0, err
		}
		typed := bytes.ReplaceAll(keys[:n], []byte{keyCancel}, nil)
		e.pending = bytes.ReplaceAll(typed, []byte{ctrlC}, []byte{keyCancel, '\r'})
		e.resize()
	}
	n := copy(p, e.pending)
	e.pending = e.pending[n:]
	return n, nil
}

// editedHistory is what the line editor sees of the history: lines that were
// canceled are left out.
type editedHistory struct{ e *editor }

// Add implements [term.History].
func (h editedHistory) Add(text string) {
	if !h.e.canceled {
		h.e.past.add(text)
	}
}

// Len implements [term.History].
func (h editedHistory) Len() int { return len(h.e.past.lines) }

// At implements [term.History]: 0 is the newest.
func (h editedHistory) At(i int) string { return h.e.past.lines[len(h.e.past.lines)-1-i] }
