package batch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/batch/source"
	"paligemma/internal/quote"
)

// Formats of results, which are the extensions of their files.
const (
	formatLines   = ".jsonl"
	formatJSON    = ".json"
	formatCSV     = ".csv"
	formatParquet = ".parquet"
	formatTar     = ".tar"
	formatCOCO    = "coco" // which is .json, too
)

var formats = []string{formatLines, formatJSON, formatCSV, formatParquet, formatTar}

// output is where results go: a file, or a folder with one for each shard.
type output struct {
	path   string
	folder bool
	format string
	coco   *cocoFormat // of formatCOCO
}

// newOutput reads the value of --output.
func newOutput(path string) (output, error) {
	ext := strings.ToLower(filepath.Ext(path))
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir(), err != nil && (ext == "" || os.IsPathSeparator(path[len(path)-1])):
		return output{path: path, folder: true, format: formatLines}, nil
	case slices.Contains(formats, ext):
		return output{path: path, format: ext}, nil
	}
	return output{}, fmt.Errorf("--output %s: want a folder, or a file that ends with %s", quote.Short(path), strings.Join(formats, ", "))
}

// job returns the file of the job.
func (o output) job() string {
	if o.folder {
		return filepath.Join(o.path, "job.json")
	}
	return o.path + ".job.json"
}

// files are those of a group of shards.
type files struct {
	path    string // of the results, when they are complete
	journal string // until then
	retry   string // results of an earlier run, while their failures are asked again
	stats   string
	format  string
	coco    *cocoFormat
}

// files returns those of a shard with a stem, or of all shards.
func (o output) files(stem string, part Part) files {
	path := o.path
	if o.folder {
		path = filepath.Join(o.path, stem+formatLines)
	}
	ext := filepath.Ext(path)
	path = strings.TrimSuffix(path, ext) + part.suffix() + ext
	return o.named(path)
}

// group is shards whose results go to one file.
type group struct {
	files
	shards []source.Shard
	part   Part // of its records
}

// groups returns the groups of a part of the inputs.
func (o output) groups(shards []source.Shard, part Part, d dealing) []group {
	shards, records := d.part(shards, part)
	if !o.folder {
		return []group{{o.files("", part), shards, records}}
	}
	var groups []group
	for _, s := range shards {
		groups = append(groups, group{o.files(s.Stem, records), []source.Shard{s}, records})
	}
	return groups
}

// maxOutputs bounds the names of files that are kept of a job.
const maxOutputs = 100_000

// names returns the names of the files of all parts, in the order of the inputs as far
// as parts have one; nil where they are too many.
func (o output) names(shards []source.Shard, n int, d dealing) (names []string) {
	n = max(n, 1)
	if n > maxOutputs || n*len(shards) > 16*maxOutputs {
		return nil
	}
	if o.folder && !d.records { // whole shards
		n = 1
	}
	for i := range n {
		for _, g := range o.groups(shards, Part{i, n}, d) {
			names = append(names, filepath.Base(g.path))
		}
	}
	if len(names) > maxOutputs {
		return nil
	}
	return names
}

// prepare makes sure that the output is the job's.
func (o output) prepare(job *Job, drawnSeed, overwrite bool, groups []group) error {
	if o.folder {
		if err := os.MkdirAll(o.path, 0o777); err != nil {
			return fmt.Errorf("--output %s: %w", o.path, atomicfile.Cause(err))
		}
	}
	if overwrite {
		for i := range groups {
			if err := groups[i].checkFree(); err != nil {
				return err
			}
		}
		for i := range groups {
			if err := groups[i].remove(); err != nil {
				return err
			}
		}
		return writeFile(o.job(), job, true)
	}
	if _, err := os.Lstat(o.job()); errors.Is(err, fs.ErrNotExist) {
		for i := range groups {
			for _, path := range groups[i].all() {
				if exists(path) {
					return fmt.Errorf("%s: %w", path, atomicfile.ErrExists)
				}
			}
		}
	}
	return job.claim(o.job(), drawnSeed)
}

// all returns the paths of the files.
func (f *files) all() []string { return []string{f.path, f.journal, f.retry, f.stats} }

// checkFree returns an error where another process writes the results.
func (f *files) checkFree() error {
	if !exists(f.journal) {
		return nil
	}
	j, err := lockJournal(f.journal)
	if err != nil {
		return err
	}
	return j.Close()
}

// remove removes what earlier runs left.
func (f *files) remove() error {
	for _, path := range f.all() {
		if err := remove(path); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a file, if it is there.
func remove(path string) error {
	if !exists(path) { // read-only file systems do not say so
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	return nil
}

// rename gives a file another name.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("%s: %w", to, atomicfile.Cause(err))
	}
	return nil
}

// exists reports whether there is a file with a path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// complete reports whether the results are complete.
func (f *files) complete() bool { return exists(f.path) }

// finish makes the results of a journal, which is complete.
func (f *files) finish(j *journal, s Stats) error {
	if err := j.sync(); err != nil {
		return err
	}
	if err := writeFile(f.stats, s, true); err != nil { // first: complete results have theirs
		return err
	}
	if f.format == formatLines {
		if err := rename(f.journal, f.path); err != nil {
			return err
		}
	} else if err := f.convert(j); err != nil {
		return err
	} else if err := f.removeJournal(); err != nil {
		return err
	}
	return remove(f.retry)
}

// removeJournal removes the journal of results that are complete, in another format.
func (f *files) removeJournal() error {
	if f.format == formatLines || !f.complete() {
		return nil
	}
	return remove(f.journal)
}

// convert writes the records of a journal in another format.
func (f *files) convert(j *journal) error {
	out, err := atomicfile.Create(f.path, true)
	if err != nil {
		return err
	}
	defer out.Abort()
	read := func() *recordReader { return newRecordReader(io.NewSectionReader(j.file, 0, j.size)) }
	if f.format == formatCOCO {
		err = f.coco.write(out, read)
	} else {
		err = writeRecords(out, f.format, read())
	}
	if err != nil {
		return err
	}
	return out.Commit()
}

// beginRetry makes the results, complete or not, those of an earlier run whose failures
// are asked again.
func (f *files) beginRetry() error {
	switch {
	case !f.complete():
	case f.format == formatLines:
		return rename(f.path, f.retry)
	default:
		if exists(f.journal) { // the run that completed the results was killed before it removed it
			if err := errors.Join(f.checkFree(), f.removeJournal()); err != nil {
				return err
			}
		}
		return f.copyToRetry()
	}
	if !exists(f.journal) {
		return nil
	}
	if err := f.checkFree(); err != nil {
		return err
	}
	return rename(f.journal, f.retry)
}

// copyToRetry makes the results, which are not lines, those of an earlier run. They stay
// until the new ones are complete.
func (f *files) copyToRetry() error {
	lines, err := f.openLines()
	if err != nil {
		return err
	}
	defer lines.Close()
	out, err := atomicfile.Create(f.retry, false)
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := io.Copy(out, lines); err != nil {
		return fmt.Errorf("--retry-failed: %s: %w", f.path, err)
	}
	return out.Commit()
}
