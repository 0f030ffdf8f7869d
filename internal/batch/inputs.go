package batch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"paligemma/internal/batch/source"
	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// fileSet holds files, by what is quick to compare. Names do not count: a file may have
// several.
type fileSet map[fileKey][]os.FileInfo

type fileKey struct {
	size, mtime int64
}

func keyOf(info os.FileInfo) fileKey { return fileKey{info.Size(), info.ModTime().UnixNano()} }

// add adds a file, if it is there.
func (s fileSet) add(path string) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		s[keyOf(info)] = append(s[keyOf(info)], info)
	}
}

// has reports whether a path is that of one of the files.
func (s fileSet) has(path string) bool {
	info, err := os.Stat(path)
	return err == nil && slices.ContainsFunc(s[keyOf(info)], func(other os.FileInfo) bool { return os.SameFile(info, other) })
}

// checkInputs finds a file that a run would write or remove and that is an input, too.
func (o output) checkInputs(in *source.Options, shards []source.Shard, groups []group) error {
	inputs := fileSet{}
	for _, path := range slices.Concat(in.Args, []string{in.FilesFrom, in.Requests}) {
		inputs.add(path)
	}
	for i := range shards {
		inputs.add(shards[i].Path)
	}
	outputs := []string{o.job()}
	for i := range groups {
		outputs = append(outputs, groups[i].all()...)
	}
	for _, path := range outputs {
		if inputs.has(path) {
			return fmt.Errorf("--output %s: %s is also an input, which is never overwritten", quote.Short(o.path), quote.Short(path))
		}
	}
	return nil
}

// sameSource reports whether two paths, one of them of an earlier run, may be of one
// file: it may have been moved since.
func sameSource(was, is string) bool {
	return was == is || sameFile(was, is) || !exists(was) && filepath.Base(was) == filepath.Base(is)
}

// added reports whether there are more inputs than the group's complete results are of.
// The error says that the inputs are others. Inputs that are not quick to read are only
// known by the names of their files.
func (g *group) added(ctx context.Context, task *Task, s Stats) (bool, error) {
	sources := g.sources()
	had := len(s.Sources)
	if s.Sources != nil && (had > len(sources) || !slices.EqualFunc(s.Sources, sources[:had], sameSource)) {
		return false, result.RequestError{Err: fmt.Errorf("%s has the results of %q, not of %q (--overwrite starts anew)", g.path, s.Sources, sources)}
	}
	if s.LastID == nil && s.Records > 0 { // the statistics are of an earlier version
		return false, nil
	}
	for i := range g.shards {
		if !g.shards[i].Countable() {
			return s.Sources != nil && len(sources) > had, nil
		}
	}
	q := &queue{shards: g.shards, task: task, part: g.part, skip: s.Records, last: s.LastID}
	for range q.items(ctx) {
		return true, nil
	}
	if q.err != nil {
		return false, q.err
	}
	return false, ctx.Err()
}

// renew notes in complete results that files without records were added to the inputs.
func (g *group) renew(s Stats, job Job) error {
	if job.Files == nil || s.Job.Files == nil || *job.Files == *s.Job.Files {
		return nil
	}
	s.Sources, s.Job.Files = g.sources(), job.Files
	return writeFile(g.stats, s, true)
}

// sources returns the files of records in a group.
func (g *group) sources() []string {
	paths := []string{}
	for i := range g.shards {
		if path := g.shards[i].Path; path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// reopen makes complete results, of inputs to which others were added, a journal again.
func (g *group) reopen() error {
	if g.format != formatLines {
		return result.RequestError{Err: fmt.Errorf("%s is complete, and there are more inputs now: only an output that ends with %s goes on then (--overwrite starts anew)", g.path, formatLines)}
	}
	return rename(g.path, g.journal)
}
