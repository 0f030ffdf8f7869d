package batch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/batch/source"
	"paligemma/internal/result"
)

// queue makes the items of a group of shards, without those that are done.
type queue struct {
	shards []source.Shard
	task   *Task
	part   Part    // of the records, by their ordinal
	skip   int64   // items that are done,
	last   []byte  // and the id of the last of them, as JSON
	prior  *priors // results of an earlier run, of which failures are asked again; nil: none

	// turn is called before each item that begins a file of so many items; nil: there
	// is one file.
	turn func(number int64) (f *rollFile, more bool, err error)
	each int64
	full bool // what is not skipped is not to be asked: the file is complete

	ordinal int64     // of the next record
	sum     hash.Hash // of the records of all parts, where they are dealt out; nil: none was read
	index   int64     // of the next item
	err     error     // that ended the iteration
}

// want reports whether the bytes of the next record's images are needed.
func (q *queue) want() bool {
	return q.part.mine(q.ordinal) && q.index+int64(max(1, len(q.task.Prompts))) > q.skip
}

// items returns the items in their order. After the iteration q.err says whether
// it ended before its end.
func (q *queue) items(ctx context.Context) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for i := range q.shards {
			for rec := range q.shards[i].Records(ctx, q.want) {
				mine := q.part.mine(q.ordinal)
				q.see(rec.ID)
				if mine && !q.expand(rec, yield) {
					return
				}
			}
			if ctx.Err() != nil {
				return
			}
		}
		if q.index < q.skip {
			q.err = fewerInputs(q.skip, q.index)
		}
	}
}

// see counts a record, of whatever part.
func (q *queue) see(id string) {
	q.ordinal++
	if q.part.whole() {
		return
	}
	if q.sum == nil {
		q.sum = sha256.New()
	}
	fmt.Fprintf(q.sum, "%s\x00", id[strings.LastIndexAny(id, `/\`)+1:])
}

// saw returns the inputs of all parts after the iteration; nil where there is one part.
func (q *queue) saw() *Seen {
	if q.part.whole() {
		return nil
	}
	s := &Seen{Records: q.ordinal}
	if q.sum != nil {
		s.SHA256 = hex.EncodeToString(q.sum.Sum(nil))
	}
	return s
}

// fewerInputs says that the output has more records than there are inputs.
func fewerInputs(records, inputs int64) error {
	return result.RequestError{Err: fmt.Errorf("the output has %d records, but there are only %d inputs: they have changed (--overwrite starts anew)", records, inputs)}
}

// expand yields the items of a record: one for each prompt.
func (q *queue) expand(rec source.Record, yield func(*item) bool) bool {
	switch {
	case rec.Err != nil:
		return q.add(&item{record: rec, id: rec.ID, err: rec.Err}, yield)
	case rec.Prompt != nil && q.task.Wrap != nil:
		return q.add(&item{record: rec, id: rec.ID, prompt: q.task.Wrap(*rec.Prompt)}, yield)
	case len(q.task.Prompts) == 0:
		return q.add(&item{record: rec, id: rec.ID, err: errNoPrompt}, yield)
	case len(q.task.Prompts) == 1:
		return q.add(&item{record: rec, id: rec.ID, prompt: q.task.Prompts[0]}, yield)
	}
	for i, prompt := range q.task.Prompts {
		if !q.add(&item{record: rec, id: fmt.Sprintf("%s#%d", rec.ID, i+1), prompt: prompt}, yield) {
			return false
		}
	}
	return true
}

var errNoPrompt = result.RequestError{Err: errors.New(`"prompt" is missing (it may be "")`)}

// begin yields what begins a file, where the next item does.
func (q *queue) begin(yield func(*item) bool) bool {
	if q.turn == nil || q.index%q.each != 0 {
		return true
	}
	f, more, err := q.turn(q.index / q.each)
	if err != nil {
		q.err = err
	}
	if err != nil || !more {
		return false
	}
	return f == nil || yield(&item{file: f, prior: true, done: make(chan struct{})})
}

// add yields an item, unless it is done.
func (q *queue) add(it *item, yield func(*item) bool) bool {
	if !q.begin(yield) {
		return false
	}
	q.index++
	if q.index < q.skip {
		return true
	}
	id, err := result.Marshal(it.id)
	if err != nil {
		q.err = err
		return false
	}
	if q.index == q.skip {
		if bytes.Equal(id, q.last) {
			return true
		}
		q.err = changedInputs(q.index, q.last, id)
		return false
	}
	if q.full {
		q.index--
		return false
	}
	it.done = make(chan struct{})
	if q.prior != nil {
		if it.line, err = q.prior.result(q.index, id); err != nil {
			q.err = err
			return false
		}
		if it.line != nil {
			it.record, it.prior = source.Record{}, true
		}
	}
	return yield(it)
}

// changedInputs says that the inputs are not those that the output is of.
func changedInputs(index int64, was, is []byte) error {
	return result.RequestError{Err: fmt.Errorf("the inputs have changed: record %d of the output is %s, but the input there is %s now (--overwrite starts anew)", index, shownID(was), shownID(is))}
}

// priors are the results of an earlier run, in the order of the inputs.
type priors struct {
	file  *os.File
	lines *recordReader
	ended bool
}

func openPriors(path string) (*priors, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	return &priors{file: file, lines: newRecordReader(file)}, nil
}

// result returns the next result, which must have the id; nil where it is a failure,
// torn or missing.
func (p *priors) result(index int64, id []byte) ([]byte, error) {
	if p.ended {
		return nil, nil
	}
	line, err := p.lines.next()
	switch {
	case errors.Is(err, io.EOF):
		p.ended = true
		return nil, nil
	case err != nil:
		return nil, err
	case !line.whole():
		p.ended = true
		return nil, nil
	case line.failed(): // of a damaged file there was one record, which may have become another
		return nil, nil
	case !bytes.Equal(line.id(), id):
		return nil, changedInputs(index, line.id(), id)
	}
	return bytes.Clone(line.text), nil
}

// skip passes over results.
func (p *priors) skip(n int64) error {
	for range n {
		if _, err := p.lines.next(); err != nil {
			return fmt.Errorf("the results of the earlier run end early: %w", err)
		}
	}
	return nil
}

func (p *priors) close() { p.file.Close() }
