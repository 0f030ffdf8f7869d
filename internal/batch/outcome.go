package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/quote"
)

// outcome is what the runs of a job have written.
type outcome struct {
	job   Job
	files []files   // of all parts
	parts [][]files // the same, of each part in turn, where their names are numbers
}

// openOutcome finds what runs with an --output have written.
func openOutcome(path string) (outcome, error) {
	out, err := newOutput(path)
	if err != nil {
		return outcome{}, err
	}
	job, err := readJob(out.job())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return outcome{}, fmt.Errorf("%s: no run with this --output has begun: there is no %s", quote.Short(path), filepath.Base(out.job()))
	case err != nil:
		return outcome{}, fmt.Errorf("%s: %w", out.job(), err)
	}
	dir := out.path
	if !out.folder {
		dir = filepath.Dir(out.path)
	}
	o := outcome{job: job}
	if job.RecordsPerFile > 0 {
		return o, o.addNumbered(out)
	}
	for _, name := range job.Outputs {
		if name != filepath.Base(name) {
			return outcome{}, fmt.Errorf("%s: %s is not the name of a file", out.job(), quote.Short(name))
		}
		o.files = append(o.files, out.named(filepath.Join(dir, name)))
	}
	if len(o.files) == 0 {
		return outcome{}, fmt.Errorf("%s does not name the files of the results", out.job())
	}
	return o, nil
}

// addNumbered finds the numbered files of all parts: of each up to its last one, with those
// that are missing before it, or one after those that are there.
func (o *outcome) addNumbered(out output) error {
	numbers, err := out.numbers()
	if err != nil {
		return err
	}
	n := min(max(1, o.job.Shards), maxParts)
	for i := range n {
		p := Part{i, n}
		part, err := out.part(p, numbers[p.suffix()], o.job)
		if err != nil {
			return err
		}
		o.parts, o.files = append(o.parts, part), append(o.files, part...)
	}
	return nil
}

// part returns the numbered files of a part, of which some numbers are there.
func (o output) part(p Part, numbers []int64, job Job) (part []files, err error) {
	for _, n := range numbers {
		f := o.numbered(n, p)
		missing := n - int64(len(part))
		switch {
		case !f.there(), missing > 0 && f.complete() && !f.of(job):
			continue // it is not of this job
		case missing > maxOutputs:
			return nil, fmt.Errorf("%s is there, and %d files before it are missing: move it away", f.path, missing)
		}
		for int64(len(part)) <= n {
			part = append(part, o.numbered(int64(len(part)), p))
		}
		if !f.complete() {
			continue
		}
		s, err := f.readStats()
		if err != nil || s.Final {
			return part, err
		}
	}
	return append(part, o.numbered(int64(len(part)), p)), nil
}

// dealtOther finds complete results of inputs that were dealt out in another way than those
// of other parts, and those that lack what was added.
func (o *outcome) dealtOther() (found []Finding) {
	if o.job.Shards < 2 {
		return nil
	}
	for i := range o.files {
		f := &o.files[i]
		if s, ok := f.storedStats(); ok && f.complete() && !s.Job.sameDealing(o.job) {
			found = append(found, f.other())
		}
	}
	switch {
	case found != nil:
		return found
	case !o.job.Dealt:
		return o.lacksFiles()
	}
	for _, set := range o.sets() {
		found = append(found, seenOther(set)...)
	}
	return found
}

// lacksFiles finds the results of the last part if they lack files of inputs that another part
// knew of: those that are added are the last part's.
func (o *outcome) lacksFiles() []Finding {
	known := 0
	for i := range o.files {
		f := &o.files[i]
		s, ok := f.storedStats()
		if !ok || !f.complete() || s.Job.Files == nil || o.parts != nil && !s.Final {
			continue
		}
		if i == len(o.files)-1 && s.Job.Files.All < known {
			return []Finding{f.lacks()}
		}
		known = max(known, s.Job.Files.All)
	}
	return nil
}

// other is the finding that results are of other inputs than those of other parts.
func (f *files) other() Finding {
	return Finding{Kind: FoundOther, File: f.path, Message: "the inputs that were dealt out to its part are not those of other parts"}
}

// lacks is the finding that results lack inputs that were added.
func (f *files) lacks() Finding {
	return Finding{Kind: FoundIncomplete, File: f.path, Message: "inputs were added: run its command again"}
}

// seenOther finds the parts that saw other inputs than the one that saw most, and those that
// lack some of these.
func seenOther(set [][]files) (found []Finding) {
	all := make([]*Seen, len(set))
	var most *Seen
	for i, part := range set {
		last := &part[len(part)-1]
		if s, ok := last.storedStats(); ok && last.complete() && s.Seen != nil {
			all[i] = s.Seen
			if most == nil || s.Seen.Records > most.Records {
				most = s.Seen
			}
		}
	}
	for i, seen := range all {
		last := &set[i][len(set[i])-1]
		switch {
		case seen == nil:
		case seen.Records == most.Records && seen.SHA256 != most.SHA256:
			found = append(found, last.other())
		case (Part{i, len(set)}).count(seen.Records) < (Part{i, len(set)}).count(most.Records):
			found = append(found, last.lacks())
		}
	}
	return found
}

// complete returns an error that names a file which is not complete.
func (o *outcome) complete() error {
	for i := range o.files {
		f := &o.files[i]
		if _, err := os.Lstat(f.path); err != nil {
			return fmt.Errorf("%s is not complete: run its command again first (%w)", f.path, atomicfile.Cause(err))
		}
		if exists(f.retry) {
			return fmt.Errorf("%s is not complete: its failures are being asked again", f.path)
		}
	}
	if found := o.dealtOther(); found != nil {
		return fmt.Errorf("%s: %s", found[0].File, found[0].Message)
	}
	return nil
}

// sets returns the files that hold the records of the same inputs, in the order of the
// inputs: one, or those of each part that records are dealt out to, in turn.
func (o *outcome) sets() [][][]files {
	var sets [][][]files
	switch {
	case !o.job.Dealt:
		for _, f := range o.files {
			sets = append(sets, [][]files{{f}})
		}
		return sets
	case o.parts != nil:
		return [][][]files{o.parts}
	}
	parts := max(1, o.job.Shards)
	each := len(o.files) / parts // files of a part
	sets = make([][][]files, each)
	for i, f := range o.files[:each*parts] {
		sets[i%each] = append(sets[i%each], []files{f})
	}
	return sets
}

// named returns the files next to results of a path.
func (o output) named(path string) files {
	f := files{path: path, journal: path + ".part", retry: path + ".retry", format: o.format, coco: o.coco}
	f.stats = strings.TrimSuffix(path, filepath.Ext(path)) + ".stats.json"
	if o.format != formatLines { // the same results may be there in several formats
		f.stats = path + ".stats.json"
	}
	return f
}
