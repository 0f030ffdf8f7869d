package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"paligemma/internal/quote"
)

// endless is a width at which the line editor never begins a new row.
const endless = 1 << 30

// display shows the line that is edited. The line editor counts a column for each
// character of a line without end; display reads what it writes, and shows that line
// in columns as terminals count them, on as many rows as it needs.
type display struct {
	out   io.Writer
	width int    // columns of the terminal
	text  []rune // the line with its prompt, as the line editor sees it
	at    int    // characters before the cursor

	shown       []rune // what is on the terminal
	inside      bool   // the cursor is before some of its characters
	row, column int    // where it is, from the line's first row
}

// Write takes what the line editor writes: text, movements of the cursor within it,
// and ends of lines.
func (d *display) Write(p []byte) (int, error) {
	n := len(p)
	var b strings.Builder
	for len(p) > 0 {
		switch {
		case bytes.HasPrefix(p, []byte("\r\n")):
			d.draw(&b)
			b.WriteString("\r\n")
			d.reset()
			p = p[2:]
		case bytes.HasPrefix(p, []byte("\x1b[")):
			rest := bytes.TrimLeft(p[2:], "0123456789")
			if len(rest) > 0 {
				d.control(&b, string(p[2:len(p)-len(rest)]), rest[0])
				rest = rest[1:]
			}
			p = rest
		default:
			r, size := utf8.DecodeRune(p)
			d.put(r)
			p = p[size:]
		}
	}
	d.draw(&b)
	_, err := io.WriteString(d.out, b.String())
	return n, err
}

// reset begins a line.
func (d *display) reset() { *d = display{out: d.out, width: d.width} }

// put writes a character at the cursor, over the one that is there.
func (d *display) put(r rune) {
	d.text = append(d.text[:d.at], append([]rune{r}, d.text[min(d.at+1, len(d.text)):]...)...)
	d.at++
}

// control carries out a control sequence of the line editor.
func (d *display) control(b *strings.Builder, argument string, letter byte) {
	n, err := strconv.Atoi(argument)
	if err != nil {
		n = 1
	}
	switch letter {
	case 'C':
		d.at = min(d.at+n, len(d.text))
	case 'D':
		d.at = max(d.at-n, 0)
	case 'K':
		d.text = d.text[:d.at]
	case 'J': // before H: the terminal is cleared, and the line written again
		b.WriteString("\x1b[2J\x1b[H")
		d.reset()
	}
}

// draw shows the line as it is now.
func (d *display) draw(b *strings.Builder) {
	text := slices.Clone(d.text)
	for len(text) > d.at && text[len(text)-1] == ' ' { // over what was deleted
		text = text[:len(text)-1]
	}
	inside := d.at < len(text)
	if added, ok := strings.CutPrefix(string(text), string(d.shown)); ok && !d.inside && !inside && joins(string(d.shown), added) {
		d.row, d.column = lay(b, added, d.width, d.row, d.column)
		d.shown = text
		return
	}
	up(b, d.row)
	b.WriteString("\x1b[J")
	last, _ := lay(b, string(text), d.width, 0, 0)
	d.row, d.column = lay(io.Discard, string(text[:d.at]), d.width, 0, 0)
	d.shown, d.inside = text, inside
	if inside {
		up(b, last-d.row)
		if d.column > 0 {
			fmt.Fprintf(b, "\x1b[%dC", d.column)
		}
	}
}

// joins reports whether text that is written after other text leaves that as it is, as
// an accent does not.
func joins(before, after string) bool {
	return before == "" || uniseg.StringWidth(before)+uniseg.StringWidth(after) == uniseg.StringWidth(before+after)
}

// up moves the cursor to the beginning of a row above.
func up(b *strings.Builder, rows int) {
	b.WriteString("\r")
	if rows > 0 {
		fmt.Fprintf(b, "\x1b[%dA", rows)
	}
}

// lay writes text from a place on, in rows of a width, and returns where it ends.
func lay(w io.Writer, text string, width, row, column int) (int, int) {
	newRow := func() {
		_, _ = io.WriteString(w, "\r\n")
		row, column = row+1, 0
	}
	for state := -1; text != ""; {
		var cluster string
		cluster, text, _, state = uniseg.FirstGraphemeClusterInString(text, state)
		cluster = quote.Terminal(cluster)
		n := uniseg.StringWidth(cluster)
		if column > 0 && column+n > width {
			newRow()
		}
		_, _ = io.WriteString(w, cluster)
		if column += n; column >= width {
			newRow()
		}
	}
	return row, column
}

// resize says how wide the terminal is now. A narrower one has made several rows of
// some of those that were written; a wider one leaves them.
func (d *display) resize(width int) {
	if width == d.width {
		return
	}
	var b strings.Builder
	_, _ = lay(&b, string(d.text[:d.at]), d.width, 0, 0)
	rows := strings.Split(b.String(), "\r\n")
	d.row = len(rows) - 1
	for _, row := range rows {
		d.row += max(0, uniseg.StringWidth(row)-1) / width
	}
	d.width = width
	d.inside = d.shown != nil // all of it is written again
}
