package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"paligemma/internal/result"
)

// layout says how the results of a run are printed.
type layout struct {
	many  bool // in JSON as an array
	lines bool // as text a line each
	paths bool // as text after the image's path
}

// printer writes results in the format asked for.
type printer struct {
	layout
	w      io.Writer
	format string
	n      int  // results so far
	open   bool // text: a line has been begun
}

func (a *app) newPrinter(l layout) *printer {
	return &printer{layout: l, w: a.Out, format: a.common.Format}
}

// with returns a printer that goes on where p is, in another layout.
func (p *printer) with(l layout) *printer {
	next := *p
	next.layout = l
	return &next
}

// begin starts the text of a result, for streaming.
func (p *printer) begin(path string) error {
	p.open = true
	if !p.paths || path == "" {
		return nil
	}
	return p.write(escapePath.Replace(path) + "\t")
}

// part writes a piece of the text that was begun.
func (p *printer) part(text string) error {
	if p.lines {
		text = escapeText.Replace(text)
	}
	return p.write(text)
}

// end ends the text that was begun, if there is one.
func (p *printer) end() error {
	if !p.open {
		return nil
	}
	p.open = false
	return p.write("\n")
}

func (p *printer) write(text string) error {
	_, err := io.WriteString(p.w, text)
	return err
}

// text writes a whole result as text.
func (p *printer) text(path, text string) error {
	if err := p.begin(path); err != nil {
		return err
	}
	if err := p.part(text); err != nil {
		return err
	}
	return p.end()
}

// scored writes a whole result as text, with a column before it.
func (p *printer) scored(path, score, text string) error {
	if err := p.begin(path); err != nil {
		return err
	}
	if err := p.write(score + "\t"); err != nil {
		return err
	}
	if err := p.part(text); err != nil {
		return err
	}
	return p.end()
}

// row writes a line of tab-separated fields, each escaped so that it is one.
func (p *printer) row(path string, fields ...string) error {
	if err := p.begin(path); err != nil {
		return err
	}
	for i, field := range fields {
		fields[i] = escapePath.Replace(field)
	}
	if err := p.write(strings.Join(fields, "\t")); err != nil {
		return err
	}
	return p.end()
}

// table writes rows of fields, such as the objects of a result.
func (p *printer) table(path string, rows [][]string) error {
	for _, row := range rows {
		if err := p.row(path, row...); err != nil {
			return err
		}
	}
	return nil
}

// aligned writes rows of fields in columns for people: the last at the left and the
// others at the right.
func (p *printer) aligned(path string, rows [][]string) error {
	last := len(rows[0]) - 1
	widths := make([]int, last)
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], len(row[i]))
		}
	}
	for _, row := range rows {
		for i, width := range widths {
			row[i] = fmt.Sprintf("%*s", width, row[i])
		}
		text := strings.Join(row[:last], "  ") + "  " + escapePath.Replace(row[last])
		if err := errors.Join(p.begin(path), p.write(text), p.end()); err != nil {
			return err
		}
	}
	return nil
}

// object writes a result as JSON.
func (p *printer) object(v any) error {
	data, err := result.Marshal(v)
	if err != nil {
		return err
	}
	text := string(data)
	if p.inArray() {
		if p.n == 0 {
			text = "[\n" + text
		} else {
			text = ",\n" + text
		}
	} else {
		text += "\n"
	}
	p.n++
	return p.write(text)
}

// close ends the array. It is called after errors too, so that what was
// written is JSON.
func (p *printer) close() error {
	if err := p.end(); err != nil {
		return err
	}
	if !p.inArray() {
		return nil
	}
	if p.n == 0 {
		return p.write("[]\n")
	}
	return p.write("\n]\n")
}

// inArray reports whether results are elements of an array, whose last line is
// unfinished until the printer is closed.
func (p *printer) inArray() bool { return p.format == formatJSON && p.many }
