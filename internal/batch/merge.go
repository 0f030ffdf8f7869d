package batch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/quote"
)

// Merge makes one file of the complete results of runs with an --output, in the order
// of their inputs. The file may have any format; tables become tables alone.
func Merge(ctx context.Context, path, to string, overwrite bool) error {
	o, err := openOutcome(path)
	if err != nil {
		return err
	}
	out, err := newOutput(to)
	switch {
	case err != nil:
		return err
	case out.folder:
		return fmt.Errorf("--output %s is a folder: name a file", quote.Short(to))
	case columnar(o.files[0].format) && !columnar(out.format):
		return fmt.Errorf("%s: tables have only a part of each record: merge them into a file that ends with %s or %s", quote.Short(path), formatCSV, formatParquet)
	case o.job.Results != "":
		return fmt.Errorf("%s: results of %s are not merged: merge those in JSON Lines", quote.Short(path), o.job.Results)
	}
	if err := o.complete(); err != nil {
		return err
	}
	for _, f := range o.files {
		if sameFile(f.path, to) {
			return fmt.Errorf("--output %s is also an input, which is never overwritten", quote.Short(to))
		}
	}
	file, err := atomicfile.Create(to, overwrite)
	if err != nil {
		return err
	}
	defer file.Abort()
	from, into := io.Pipe()
	go func() { into.CloseWithError(o.copy(ctx, into)) }()
	err = writeRecords(file, out.format, newRecordReader(from))
	from.CloseWithError(err) // the goroutine ends
	if err != nil {
		return err
	}
	return file.Commit()
}

func sameFile(a, b string) bool {
	first, err1 := os.Stat(a)
	second, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(first, second)
}

// copy writes all results as lines, in the order of the inputs.
func (o *outcome) copy(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, set := range o.sets() {
		if err := copySet(ctx, out, set); err != nil {
			return err
		}
	}
	return out.Flush()
}

// copySet writes the records of parts that they were dealt out to in turns, each in
// files that follow each other.
func copySet(ctx context.Context, w *bufio.Writer, set [][]files) error {
	var parts []*partReader
	for _, files := range set {
		p := &partReader{rest: files}
		defer p.close()
		if err := p.next(); err != nil {
			return err
		}
		parts = append(parts, p)
	}
	for slices.ContainsFunc(parts, func(p *partReader) bool { return p.line != nil }) {
		for _, p := range parts {
			if err := p.copyInput(w); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// partReader reads the results of a part.
type partReader struct {
	rest  []files       // not begun
	path  string        // that is read
	file  io.ReadCloser // its records
	lines *recordReader // the same; nil: none is open
	line  []byte        // next; nil: there are no more
	id    string        // of the line
}

// open opens the next file. At the end of all the error is [io.EOF].
func (p *partReader) open() (err error) {
	p.close()
	if len(p.rest) == 0 {
		return io.EOF
	}
	if p.file, err = p.rest[0].openLines(); err != nil {
		p.file = nil
		return err
	}
	p.path, p.lines, p.rest = p.rest[0].path, newRecordReader(p.file), p.rest[1:]
	return nil
}

func (p *partReader) close() {
	if p.file != nil {
		p.file.Close()
	}
	p.file, p.lines = nil, nil
}

// next reads a line.
func (p *partReader) next() error {
	if p.lines == nil {
		if err := p.open(); errors.Is(err, io.EOF) {
			p.line = nil
			return nil
		} else if err != nil {
			return err
		}
	}
	line, err := p.lines.next()
	switch {
	case errors.Is(err, io.EOF):
		p.close()
		return p.next()
	case err == nil && !line.whole():
		err = errors.New("a line is damaged")
	}
	if err == nil {
		err = json.Unmarshal(line.id(), &p.id)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	p.line = line.text
	return nil
}

// copyInput writes the results of an input: one, or those of several prompts, whose
// ids end with #1, #2 and so on.
func (p *partReader) copyInput(w *bufio.Writer) error {
	if p.line == nil {
		return nil
	}
	base, several := strings.CutSuffix(p.id, "#1")
	for n := 2; ; n++ {
		_, _ = w.Write(p.line)
		if err := w.WriteByte('\n'); err != nil {
			return err
		}
		if err := p.next(); err != nil {
			return err
		}
		if p.line == nil || !several || p.id != base+"#"+strconv.Itoa(n) {
			return nil
		}
	}
}
