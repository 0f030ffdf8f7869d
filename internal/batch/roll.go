package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"paligemma/internal/atomicfile"
	"paligemma/internal/quote"
)

// numbered returns the files of results with a number, from 0, of a part.
func (o output) numbered(number int64, part Part) files {
	return o.files(digits(number), part)
}

// there reports whether a run has begun the results.
func (f *files) there() bool { return exists(f.path) || exists(f.journal) || exists(f.retry) }

// numbers returns the numbers of which a file is in the folder, ascending, by the suffixes of
// parts.
func (o output) numbers() (map[string][]int64, error) {
	entries, err := os.ReadDir(o.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--output %s: %w", quote.Short(o.path), atomicfile.Cause(err))
	}
	all := map[string][]int64{}
	named := o.numbered(0, Part{})
	for _, entry := range entries {
		rest := strings.TrimLeft(entry.Name(), "0123456789")
		n, err := strconv.ParseInt(strings.TrimSuffix(entry.Name(), rest), 10, 64)
		if err != nil || digits(n)+rest != entry.Name() {
			continue
		}
		for _, path := range named.all() {
			if suffix, ok := strings.CutSuffix(rest, strings.TrimPrefix(filepath.Base(path), digits(0))); ok {
				all[suffix] = append(all[suffix], n)
			}
		}
	}
	for suffix, numbers := range all {
		slices.Sort(numbers)
		all[suffix] = slices.Compact(numbers)
	}
	return all, nil
}

// digits is a number in the name of a file.
func digits(n int64) string { return fmt.Sprintf("%05d", n) }

// numberedThere returns the groups of a part of which a file is in the folder.
func (o output) numberedThere(part Part) (groups []group, err error) {
	numbers, err := o.numbers()
	for _, n := range numbers[part.suffix()] {
		groups = append(groups, group{files: o.numbered(n, part)})
	}
	return groups, err
}

// of reports whether complete results are a job's, by their statistics.
func (f *files) of(job Job) bool {
	s, ok := f.storedStats()
	return ok && job.differences(s.Job) == ""
}

// roll writes the records of a part of the inputs into files of the same number of
// records each.
type roll struct {
	*run
	named Part  // whose files these are
	each  int64 // records of a file
	queue *queue
	kept  map[int64]keptFile // by their numbers
	alien map[int64]bool     // numbers of files after a gap that this job is not known to have written

	mu     sync.Mutex
	opened []*rollFile // that are to be closed
	closed bool        // no more are opened

	current *rollFile // that records are added to; nil: none
}

// keptFile is a file of results that is complete and stays.
type keptFile struct {
	records int64
	last    []byte // the id of its last record, as JSON
	final   bool   // there are no more files after it
}

// rollFile is a file of results that is not complete.
type rollFile struct {
	files
	number   int64
	journal  *journal
	prior    *priors // nil: none
	start    time.Time
	answered int64 // by the run before
}

// roll answers a part of the inputs into numbered files.
func (r *run) roll(ctx context.Context, g group, named Part) error {
	w := &roll{run: r, named: named, each: r.RecordsPerFile, kept: map[int64]keptFile{}, alien: map[int64]bool{}}
	all, err := w.scan(ctx, &g)
	if err != nil || all {
		return err
	}
	w.queue = &queue{shards: g.shards, task: &r.Task, part: g.part, turn: w.turn, each: w.each}
	err = r.runner.run(ctx, r.Stop, w.queue.items(ctx), w.emit)
	if err == nil {
		err = w.queue.err
	}
	if err == nil {
		err = w.end()
	}
	return errors.Join(err, w.close())
}

// scan finds the files that stay as they are, also after some that are missing. The last one
// becomes a journal again where inputs were added. all says that nothing else is to be done.
func (w *roll) scan(ctx context.Context, g *group) (all bool, err error) {
	numbers, err := w.output.numbers()
	if err != nil {
		return false, err
	}
	pending, gap, next := false, false, int64(0)
	for _, n := range numbers[w.named.suffix()] {
		f := w.output.numbered(n, w.named)
		if !f.there() {
			continue
		}
		gap = gap || n > next
		next = n + 1
		s, stays, err := w.stays(n, &f, gap)
		if err != nil {
			return false, err
		}
		if pending = pending || gap || !stays; !stays {
			continue
		}
		if s.Final {
			last := &group{f, g.shards, g.part}
			more, err := w.reopen(ctx, last, n, s)
			if more || err != nil {
				return false, err
			}
			if err := last.renew(s, w.Job); err != nil {
				return false, err
			}
		}
		w.add(s.Records, s.Failed)
		w.kept[n] = keptFile{s.Records, s.LastID, s.Final}
		if s.Final {
			return !pending, nil
		}
	}
	return false, nil
}

// stays reports whether the file of a number is complete and stays as it is, and returns its
// statistics. gap says that files before it are missing.
func (w *roll) stays(number int64, f *files, gap bool) (s Stats, ok bool, err error) {
	switch {
	case !f.complete() || exists(f.retry):
		return s, false, nil
	case gap && !f.of(w.Job):
		w.alien[number] = true
		return s, false, nil
	}
	s, err = f.readStats()
	return s, err == nil && !(w.RetryFailed && s.Failed > 0), err
}

// reopen makes the last file a journal again if inputs were added, and reports whether
// they were.
func (w *roll) reopen(ctx context.Context, last *group, number int64, s Stats) (bool, error) {
	s.Records += number * w.each // with those of the files before
	more, err := last.added(ctx, &w.Task, s)
	if more && err == nil {
		err = last.reopen()
	}
	return more, err
}

// turn makes the queue go on with the file of a number: more is false where there are
// no more. It returns the file if records are to be added to it.
func (w *roll) turn(number int64) (f *rollFile, more bool, err error) {
	q := w.queue
	if w.kept[number-1].final { // inputs that were added are not known of: they are not quick to read
		return nil, false, nil
	}
	first := number * w.each
	if k, ok := w.kept[number]; ok {
		q.skip, q.last, q.prior, q.full = first+k.records, k.last, nil, true
		return nil, true, nil
	}
	f = &rollFile{files: w.output.numbered(number, w.named), number: number}
	if w.alien[number] {
		return nil, false, fmt.Errorf("%s would be replaced, and %s does not say that this job wrote it: move it away (--overwrite starts anew)", f.path, filepath.Base(f.stats))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, false, ErrStopped
	}
	if f.journal, f.prior, err = w.begin(&f.files); err != nil {
		return nil, false, err
	}
	w.opened = append(w.opened, f)
	q.skip, q.last, q.prior, q.full = first+f.journal.records, f.journal.last, f.prior, false
	return f, true, nil
}

// emit adds a record to its file, or begins the next file.
func (w *roll) emit(it *item) error {
	if it.file != nil {
		return w.next(it.file)
	}
	if err := w.current.journal.append(it.line); err != nil {
		return err
	}
	return w.count(recordLine{text: it.line}, !it.prior)
}

// next completes the file under way, and begins another one.
func (w *roll) next(f *rollFile) error {
	if err := w.finish(false); err != nil {
		return err
	}
	w.current = f
	f.start, f.answered = time.Now(), w.progress.Answered
	w.add(f.journal.records, f.journal.failed)
	return nil
}

// finish completes the file under way, if there is one.
func (w *roll) finish(final bool) error {
	f := w.current
	if f == nil {
		return nil
	}
	s, err := newStats(f.journal, w.queue.shards, w.Job, w.progress.Answered-f.answered, time.Since(f.start))
	if err != nil {
		return err
	}
	if s.Final = final; final {
		s.Seen = w.queue.saw()
	}
	if err := f.files.finish(f.journal, s); err != nil {
		return err
	}
	w.current = nil
	return w.release(f)
}

// end completes the last file.
func (w *roll) end() error {
	q := w.queue
	var kept int64
	for n, k := range w.kept {
		kept = max(kept, n*w.each+k.records)
	}
	if q.index < kept {
		return fewerInputs(kept, q.index)
	}
	last := max(0, q.index-1) / w.each
	if q.index == 0 && w.current == nil { // a file without records
		f, _, err := w.turn(0)
		if err == nil && f != nil {
			err = w.next(f)
		}
		if err != nil {
			return err
		}
	}
	if k, ok := w.kept[last]; ok && !k.final { // the run before ended in between
		f := w.output.numbered(last, w.named)
		s, err := f.readStats()
		if err != nil {
			return err
		}
		s.Final, s.Seen = true, q.saw()
		if err := writeFile(f.stats, s, true); err != nil {
			return err
		}
	}
	return w.finish(w.current != nil && w.current.number == last)
}

// release closes a file.
func (w *roll) release(f *rollFile) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, open := range w.opened {
		if open == f {
			w.opened = append(w.opened[:i], w.opened[i+1:]...)
			return f.close()
		}
	}
	return nil
}

// close closes all files, and none is opened any more.
func (w *roll) close() (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, f := range w.opened {
		err = errors.Join(err, f.close())
	}
	w.opened = nil
	return err
}

func (f *rollFile) close() error {
	if f.prior != nil {
		f.prior.close()
	}
	return f.journal.close()
}
