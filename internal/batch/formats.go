package batch

import (
	"archive/tar"
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// row is a record as a line of a table. Lists and objects are JSON.
type row struct {
	ID            string   `parquet:"id"`
	Image         *string  `parquet:"image,optional"`
	Task          *string  `parquet:"task,optional"`
	Model         *string  `parquet:"model,optional"`
	Prompt        *string  `parquet:"prompt,optional"`
	Text          *string  `parquet:"text,optional"`
	Confidence    *float64 `parquet:"confidence,optional"`
	FinishReason  *string  `parquet:"finish_reason,optional"`
	PrefillTokens *int64   `parquet:"prefill_tokens,optional"`
	DecodeTokens  *int64   `parquet:"decode_tokens,optional"`
	Objects       *string  `parquet:"objects,optional"`
	Scores        *string  `parquet:"scores,optional"`
	Input         *string  `parquet:"input,optional"`
	ErrorCode     *string  `parquet:"error_code,optional"`
	ErrorMessage  *string  `parquet:"error_message,optional"`
}

// columns are the names of a row's fields.
var columns = []string{
	"id", "image", "task", "model", "prompt", "text", "confidence", "finish_reason", "prefill_tokens", "decode_tokens",
	"objects", "scores", "input", "error_code", "error_message",
}

// tabular is what a table has of a record.
type tabular struct {
	ID           string          `json:"id"`
	Failure      *Failure        `json:"error,omitempty"`
	Image        *string         `json:"image,omitempty"` // of several a list
	Images       json.RawMessage `json:"images,omitempty"`
	Task         *string         `json:"task,omitempty"`
	Model        *string         `json:"model,omitempty"`
	Prompt       *string         `json:"prompt,omitempty"`
	Text         *string         `json:"text,omitempty"`
	Confidence   *float64        `json:"confidence,omitempty"`
	FinishReason *string         `json:"finish_reason,omitempty"`
	Objects      json.RawMessage `json:"objects,omitempty"`
	Scores       json.RawMessage `json:"scores,omitempty"`
	Input        json.RawMessage `json:"input,omitempty"`
	Timings      *tableTimings   `json:"timings,omitempty"`
}

type tableTimings struct {
	Prefill int64 `json:"prefill_tokens"`
	Decode  int64 `json:"decode_tokens"`
}

// newRow returns a record as a row.
func newRow(line []byte) (row, error) {
	var t tabular
	if err := json.Unmarshal(line, &t); err != nil {
		return row{}, err
	}
	r := row{
		ID: t.ID, Image: t.Image, Task: t.Task, Model: t.Model, Prompt: t.Prompt, Text: t.Text, Confidence: t.Confidence,
		FinishReason: t.FinishReason, Objects: jsonText(t.Objects), Scores: jsonText(t.Scores), Input: jsonText(t.Input),
	}
	if t.Image == nil {
		r.Image = jsonText(t.Images)
	}
	if t.Timings != nil {
		r.PrefillTokens, r.DecodeTokens = &t.Timings.Prefill, &t.Timings.Decode
	}
	if t.Failure != nil {
		r.ErrorCode, r.ErrorMessage = &t.Failure.Code, &t.Failure.Message
	}
	return r, nil
}

// jsonText returns a value as text, nil where there is none.
func jsonText(raw json.RawMessage) *string {
	if len(raw) == 0 {
		return nil
	}
	text := string(raw)
	return &text
}

// eachRow calls f with the records of a journal as rows.
func eachRow(lines *recordReader, f func(row) error) error {
	return eachLine(lines, func(line []byte) error {
		r, err := newRow(line)
		if err != nil {
			return err
		}
		return f(r)
	})
}

// eachLine calls f with the records of a journal.
func eachLine(lines *recordReader, f func(line []byte) error) error {
	for n := 1; ; n++ {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(line.text)
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
	}
}

// writeRecords writes records in a format.
func writeRecords(w io.Writer, format string, lines *recordReader) error {
	switch format {
	case formatLines:
		return writeLines(w, lines)
	case formatJSON:
		return writeArray(w, lines)
	case formatCSV:
		return writeCSV(w, lines)
	case formatTar:
		return writeTar(w, lines)
	}
	return writeParquet(w, lines)
}

// writeLines writes records as JSON Lines.
func writeLines(w io.Writer, lines *recordReader) error {
	out := bufio.NewWriter(w)
	err := eachLine(lines, func(line []byte) error {
		_, _ = out.Write(line)
		return out.WriteByte('\n')
	})
	return errors.Join(err, out.Flush())
}

// writeArray writes records as an array of JSON, a line each.
func writeArray(w io.Writer, lines *recordReader) error {
	out := bufio.NewWriter(w)
	before := "[\n"
	err := eachLine(lines, func(line []byte) error {
		_, _ = out.WriteString(before)
		before = ",\n"
		_, err := out.Write(line)
		return err
	})
	if err != nil {
		return err
	}
	if before == "[\n" {
		_, _ = out.WriteString("[]\n")
	} else {
		_, _ = out.WriteString("\n]\n")
	}
	return out.Flush()
}

// writeCSV writes records as CSV with a header.
func writeCSV(w io.Writer, lines *recordReader) error {
	out := csv.NewWriter(w)
	_ = out.Write(columns)
	err := eachRow(lines, func(r row) error { return out.Write(r.fields()) })
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// fields returns the row's values as text, in the order of columns.
func (r *row) fields() []string {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	number := func(n *int64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatInt(*n, 10)
	}
	confidence := ""
	if r.Confidence != nil {
		confidence = strconv.FormatFloat(*r.Confidence, 'g', -1, 64)
	}
	return []string{
		r.ID, text(r.Image), text(r.Task), text(r.Model), text(r.Prompt), text(r.Text), confidence, text(r.FinishReason),
		number(r.PrefillTokens), number(r.DecodeTokens), text(r.Objects), text(r.Scores), text(r.Input), text(r.ErrorCode), text(r.ErrorMessage),
	}
}

const (
	rowsAtOnce   = 1000
	rowsPerGroup = 100_000
)

// writeParquet writes records as Parquet, compressed with Zstandard.
func writeParquet(w io.Writer, lines *recordReader) error {
	out := parquet.NewGenericWriter[row](w, parquet.Compression(&zstd.Codec{}), parquet.MaxRowsPerRowGroup(rowsPerGroup), parquet.CreatedBy("paligemma", "", ""))
	var rows []row
	flush := func() error {
		_, err := out.Write(rows)
		rows = rows[:0]
		return err
	}
	err := eachRow(lines, func(r row) error {
		if rows = append(rows, r); len(rows) < rowsAtOnce {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	return out.Close()
}

// writeTar writes records in the layout of WebDataset: of each key the text as .txt and
// the record as .json.
func writeTar(w io.Writer, lines *recordReader) error {
	out := tar.NewWriter(w)
	err := eachLine(lines, func(line []byte) error {
		r, err := newRow(line)
		if err != nil {
			return err
		}
		key := tarKey(r.ID)
		if r.Text != nil {
			if err := writeMember(out, key+".txt", []byte(*r.Text)); err != nil {
				return err
			}
		}
		return writeMember(out, key+".json", line)
	})
	if err != nil {
		return err
	}
	return out.Close()
}

func writeMember(w *tar.Writer, name string, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// tarImages are the extensions that a path loses where it becomes a key.
var tarImages = []string{".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}

// tarKey returns an id as the key of a sample, in whose name is no dot: that would
// end it.
func tarKey(id string) string {
	id = strings.ReplaceAll(id, "\x00", "_")
	dir, base := path.Split(path.Clean("/" + id))
	if ext := path.Ext(base); slices.Contains(tarImages, strings.ToLower(ext)) {
		base = strings.TrimSuffix(base, ext)
	}
	return dir[1:] + strings.ReplaceAll(base, ".", "_")
}
