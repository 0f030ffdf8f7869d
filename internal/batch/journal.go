package batch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"paligemma/internal/atomicfile"
	"paligemma/internal/quote"
)

// journal is the results of a group of shards as far as they are there: a record a
// line. A process that dies leaves at most a torn last line, which the next one cuts.
type journal struct {
	file    *os.File
	path    string
	size    int64
	records int64
	failed  int64
	last    []byte // the id of the last record, as JSON

	every  time.Duration // between two syncs
	synced time.Time
}

// openJournal opens or makes a journal, which is this process's alone, and cuts what is
// torn.
func openJournal(path string, every time.Duration) (*journal, error) {
	file, err := lockJournal(path)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file, path: path, every: every, synced: time.Now()}
	if err := j.recover(); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}

// lockJournal opens or makes the file of a journal, for this process alone.
func lockJournal(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() { // it might have no end
		err = errors.New("not a regular file")
	}
	if err == nil {
		err = atomicfile.Lock(file)
	}
	if there, err2 := os.Stat(path); err == nil && (err2 != nil || !os.SameFile(there, info)) { // its process has just ended
		err = atomicfile.ErrLocked
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	return file, nil
}

// recover reads the records, cuts a torn line at the end and goes there.
func (j *journal) recover() error {
	lines := newRecordReader(j.file)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !line.whole() {
			if lines.more() {
				return fmt.Errorf("line %d is damaged (--overwrite starts anew)", j.records+1)
			}
			break
		}
		j.count(line)
		j.size += int64(len(line.text)) + 1
	}
	if err := j.file.Truncate(j.size); err != nil {
		return atomicfile.Cause(err)
	}
	_, err := j.file.Seek(j.size, io.SeekStart)
	return atomicfile.Cause(err)
}

func (j *journal) count(line recordLine) {
	j.records++
	if line.failed() {
		j.failed++
	}
	j.last = append(j.last[:0], line.id()...)
}

// append adds a record. It is in the file when append returns, and on the disk after
// the next sync.
func (j *journal) append(text []byte) error {
	n, err := j.file.Write(append(text, '\n'))
	if err != nil {
		if n > 0 { // what is torn would be cut by the next run anyway
			_ = j.file.Truncate(j.size)
		}
		return fmt.Errorf("write %s: %w", j.path, atomicfile.Cause(err))
	}
	j.size += int64(n)
	j.count(recordLine{text: text})
	if time.Since(j.synced) >= j.every {
		return j.sync()
	}
	return nil
}

// sync puts what was added on the disk.
func (j *journal) sync() error {
	j.synced = time.Now()
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", j.path, atomicfile.Cause(err))
	}
	return nil
}

// close closes the file, and syncs it first.
func (j *journal) close() error {
	err := j.sync()
	return errors.Join(err, j.file.Close())
}

// recordLine is a line of a journal, without its end.
type recordLine struct {
	text []byte
	torn bool // its end is missing
}

// lineStart begins every record.
var lineStart = []byte(`{"id":`)

// whole reports whether a line is a record.
func (l recordLine) whole() bool {
	return !l.torn && bytes.HasPrefix(l.text, lineStart) && l.id() != nil && json.Valid(l.text)
}

// id returns the id of a record as JSON, the quotation marks included.
func (l recordLine) id() []byte {
	rest := l.text[min(len(lineStart), len(l.text)):]
	if len(rest) == 0 || rest[0] != '"' {
		return nil
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			return rest[:i+1]
		}
	}
	return nil
}

// failed reports whether a record is that of a failure, which has its error after the
// id.
func (l recordLine) failed() bool {
	id := l.id()
	return id != nil && bytes.HasPrefix(l.text[len(lineStart)+len(id):], []byte(`,"error":{`))
}

// recordReader reads the lines of a journal.
type recordReader struct {
	r   *bufio.Reader
	buf []byte
}

func newRecordReader(r io.Reader) *recordReader {
	return &recordReader{r: bufio.NewReaderSize(r, 1<<18)}
}

// maxRecord bounds a record, in bytes: what is carried may be as long as a line of
// input.
const maxRecord = 1 << 30

// next returns the next line, which is valid until the call after.
func (r *recordReader) next() (recordLine, error) {
	r.buf = r.buf[:0]
	for {
		part, err := r.r.ReadSlice('\n')
		r.buf = append(r.buf, part...)
		switch {
		case len(r.buf) > maxRecord:
			return recordLine{}, fmt.Errorf("a line has more than %d bytes", maxRecord)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(r.buf) == 0:
			return recordLine{}, io.EOF
		case errors.Is(err, io.EOF):
			return recordLine{text: r.buf, torn: true}, nil
		case err != nil:
			return recordLine{}, atomicfile.Cause(err)
		default:
			return recordLine{text: r.buf[:len(r.buf)-1]}, nil
		}
	}
}

// more reports whether other lines follow.
func (r *recordReader) more() bool {
	_, err := r.r.Peek(1)
	return err == nil
}

// shownID returns an id that is JSON for a message.
func shownID(id []byte) string { return quote.Line(string(id), quote.Max) }
