package batch

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"paligemma/internal/atomicfile"
	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// Results are read again as the lines of the journal that they were made of: of JSON and
// tar these are the same, and of tables they have what the table has of them.

// columnar reports whether a format has only a part of each record.
func columnar(format string) bool { return format == formatCSV || format == formatParquet }

// openLines opens the records of complete results as lines.
func (f *files) openLines() (io.ReadCloser, error) {
	if f.format == formatCOCO {
		return nil, fmt.Errorf("%s: results of COCO lack failures and what has no object: ask anew with --overwrite", f.path)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, atomicfile.Cause(err))
	}
	if f.format == formatLines {
		return file, nil
	}
	from, into := io.Pipe()
	go func() {
		defer file.Close()
		out := bufio.NewWriter(into)
		err := rewrite(out, f.format, file)
		if err == nil {
			err = out.Flush()
		}
		into.CloseWithError(quote.Error(err))
	}()
	return from, nil
}

// rewrite writes results of a format as lines. A library panics at some damaged files.
func rewrite(out *bufio.Writer, format string, file *os.File) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %s", quote.Line(fmt.Sprint(p), quote.Max))
		}
	}()
	add := func(line []byte) error {
		if !(recordLine{text: line}).whole() {
			return errors.New("an element is not a record")
		}
		_, _ = out.Write(line)
		return out.WriteByte('\n')
	}
	switch format {
	case formatJSON:
		return readArray(file, add)
	case formatTar:
		return readTar(file, add)
	case formatCSV:
		return readCSV(file, add)
	}
	return readParquet(file, add)
}

// readArray reads the records in an array of JSON.
func readArray(r io.Reader, add func(line []byte) error) error {
	in := json.NewDecoder(bufio.NewReader(r))
	if t, err := in.Token(); err != nil || t != json.Delim('[') {
		return errors.New("not an array of records")
	}
	for in.More() {
		var raw json.RawMessage
		if err := in.Decode(&raw); err != nil {
			return err
		}
		var line bytes.Buffer
		if err := json.Compact(&line, raw); err != nil {
			return err
		}
		if err := add(line.Bytes()); err != nil {
			return err
		}
	}
	_, err := in.Token() // the end, which a file that was cut lacks
	return err
}

// readTar reads the records in an archive.
func readTar(r io.Reader, add func(line []byte) error) error {
	for in := tar.NewReader(bufio.NewReader(r)); ; {
		header, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !strings.HasSuffix(header.Name, ".json"):
			continue
		}
		line, err := io.ReadAll(io.LimitReader(in, maxRecord))
		if err != nil {
			return err
		}
		if err := add(line); err != nil {
			return err
		}
	}
}

// errCRLF says that CSV is read other than it was written.
var errCRLF = errors.New("a text has CR and LF, which readers of CSV take for LF: ask anew with --overwrite")

// noCRLF passes on what has no CR before an LF.
type noCRLF struct {
	r    io.Reader
	last byte
}

// Read reads on.
func (c *noCRLF) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for _, b := range p[:n] {
		if c.last == '\r' && b == '\n' {
			return 0, errCRLF
		}
		c.last = b
	}
	return n, err
}

// readCSV reads the rows of a table.
func readCSV(r io.Reader, add func(line []byte) error) error {
	in := csv.NewReader(&noCRLF{r: r})
	in.ReuseRecord = true
	header, err := in.Read()
	if errors.Is(err, errCRLF) {
		return errCRLF
	}
	if err != nil || !slices.Equal(header, columns) {
		return errors.New("the first line does not name the columns of records")
	}
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			var row row
			if row, err = parseRow(fields); err == nil {
				err = addRow(row, add)
			}
		}
		if err != nil {
			return err
		}
	}
}

// parseRow reads the values of a row, in the order of columns.
func parseRow(fields []string) (r row, err error) {
	text := func(i int) *string {
		if fields[i] == "" {
			return nil
		}
		value := strings.Clone(fields[i])
		return &value
	}
	number := func(i int) *int64 {
		if fields[i] == "" || err != nil {
			return nil
		}
		var n int64
		n, err = strconv.ParseInt(fields[i], 10, 64)
		return &n
	}
	r = row{
		ID: strings.Clone(fields[0]), Image: text(1), Task: text(2), Model: text(3), Prompt: text(4), Text: text(5), FinishReason: text(7),
		PrefillTokens: number(8), DecodeTokens: number(9), Objects: text(10), Scores: text(11), Input: text(12), ErrorCode: text(13), ErrorMessage: text(14),
	}
	if fields[6] != "" && err == nil {
		var v float64
		v, err = strconv.ParseFloat(fields[6], 64)
		r.Confidence = &v
	}
	return r, err
}

// readParquet reads the rows of a table.
func readParquet(file *os.File, add func(line []byte) error) error {
	in := parquet.NewGenericReader[row](file)
	defer in.Close()
	rows := make([]row, rowsAtOnce)
	for {
		n, err := in.Read(rows)
		for _, r := range rows[:n] {
			if err := addRow(r, add); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		}
	}
}

// addRow adds a line that [newRow] makes the same row of.
func addRow(r row, add func(line []byte) error) error {
	rec := tabular{
		ID: r.ID, Image: r.Image, Task: r.Task, Model: r.Model, Prompt: r.Prompt, Text: r.Text, Confidence: r.Confidence, FinishReason: r.FinishReason,
		Objects: rawText(r.Objects), Scores: rawText(r.Scores), Input: rawText(r.Input),
	}
	if r.PrefillTokens != nil && r.DecodeTokens != nil {
		rec.Timings = &tableTimings{*r.PrefillTokens, *r.DecodeTokens}
	}
	if r.ErrorCode != nil {
		rec.Failure = &Failure{Code: *r.ErrorCode}
		if r.ErrorMessage != nil {
			rec.Failure.Message = *r.ErrorMessage
		}
	}
	line, err := result.Marshal(rec)
	if err != nil {
		return err
	}
	return add(line)
}

// rawText returns a text that is JSON.
func rawText(s *string) json.RawMessage {
	if s == nil {
		return nil
	}
	return json.RawMessage(*s)
}
