// Package batch answers any number of inputs, from an open engine, into files: a
// record an input, in the order of the inputs. A run that was broken off goes on
// where it stopped.
//
// Inputs come from package source, one at a time. A runner answers several of
// them together and hands the records on in order; a journal keeps them, so that
// a process that is killed loses no more than what was under way. What the
// records depend on is a [Job], which lies next to the output.
package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"paligemma/internal/atomicfile"
	"paligemma/internal/batch/source"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
	"paligemma/internal/quote"
)

// DefaultSync is the time between two syncs of results to the disk.
const DefaultSync = 5 * time.Second

// Stdout is the output that stands for standard output: lines of JSON, which are not
// kept and not resumed.
const Stdout = "-"

// Inputs say what the inputs are.
type Inputs = source.Options

// Options say what is asked of what, and where the answers go.
type Options struct {
	Source Inputs
	Task   Task
	Job    Job // what the records depend on

	Output      string // a file, a folder or Stdout
	Out         io.Writer
	DrawnSeed   bool // the job's seed was not asked for: an earlier run's is as good
	Overwrite   bool // what is there is replaced
	RetryFailed bool // failures of an earlier run are asked again
	MaxFailures MaxFailures
	Part        Part
	// RecordsPerFile is how many records each file in a folder has; 0: the folder has a
	// file for each file of inputs.
	RecordsPerFile int64
	COCO           *COCO // results in COCO's formats; nil: in that of the output's name

	Parallel int           // records that are decoded together, by all workers
	Workers  *Workers      // processes that answer; nil: the engine does
	Sync     time.Duration // between two syncs

	Limits func(path string) preprocess.Limits // of images
	Stop   <-chan struct{}                     // once closed, no more inputs are begun
	OnDone func(Progress)                      // called after each record, and of what was done before
	Total  bool                                // Progress.Total is wanted
}

// Progress is how far a run has come.
type Progress struct {
	Done     int64 // records that are there, of earlier runs, too
	Failed   int64 // of them
	Answered int64 // by this run
	Total    int64 // there will be; 0: not known, or not yet
}

// Check finds what is wrong with the names of inputs and output, before a model is
// opened for them.
func (o *Options) Check() error {
	shards, err := o.Source.Shards()
	if err != nil {
		return err
	}
	out, err := o.output(shards)
	if err != nil {
		return err
	}
	if o.RecordsPerFile > 0 && !out.folder {
		return fmt.Errorf("--records-per-file needs a folder as --output, not the file %s", quote.Short(o.Output))
	}
	if o.Output == Stdout {
		return nil
	}
	d, err := o.deal(out, shards)
	if err != nil {
		return err
	}
	groups := out.groups(shards, o.Part, d)
	if o.RecordsPerFile > 0 {
		if groups, err = out.numberedThere(o.Part); err != nil {
			return err
		}
	}
	return out.checkInputs(&o.Source, shards, groups)
}

// output returns where the results go.
func (o *Options) output(shards []source.Shard) (out output, err error) {
	if o.Output != Stdout {
		if out, err = newOutput(o.Output); err != nil {
			return out, err
		}
	}
	if o.COCO == nil {
		return out, nil
	}
	if out.format != formatJSON {
		return out, fmt.Errorf("--format coco needs an --output that ends with %s, not %s", formatJSON, quote.Short(o.Output))
	}
	out.format = formatCOCO
	out.coco, err = newCOCOFormat(o.COCO, shards)
	return out, err
}

// run is a batch under way.
type run struct {
	Options
	output   output
	runner   *runner
	progress Progress
	total    atomic.Int64
}

// Run answers all inputs, with an engine or with o.Workers. The numbers are those so far where there is an error, which
// is ErrStopped after Stop.
func Run(ctx context.Context, e *engine.Engine, o Options) (Progress, error) {
	r := &run{Options: o}
	shards, err := r.Source.Shards()
	if err != nil {
		return r.progress, err
	}
	r.Parallel = max(1, r.Parallel)
	if r.Output == Stdout {
		if r.Workers != nil {
			r.Workers.seed = r.Task.Request.Sampling.Seed
		}
		r.runner = newRunner(e, &r.Options)
		return r.progress, r.print(ctx, shards)
	}
	if r.output, err = r.Options.output(shards); err != nil {
		return r.progress, err
	}
	groups, there, err := r.groups(shards)
	if err != nil {
		return r.progress, err
	}
	if err := r.output.checkInputs(&r.Source, shards, there); err != nil {
		return r.progress, err
	}
	if r.COCO != nil {
		r.Job.Results = formatCOCO
	}
	if err := r.output.prepare(&r.Job, r.DrawnSeed, r.Overwrite, there); err != nil {
		return r.progress, err
	}
	r.Task.Request.Sampling.Seed = r.Job.Seed
	if r.Workers != nil {
		r.Workers.seed = r.Job.Seed
	}
	r.runner = newRunner(e, &r.Options)
	defer r.countTotal(ctx, groups)()
	if r.RecordsPerFile > 0 {
		err := r.roll(ctx, groups[0], r.Part)
		return r.progress, err
	}
	for i := range groups {
		if err := r.group(ctx, &groups[i]); err != nil {
			return r.progress, err
		}
	}
	return r.progress, nil
}

// groups returns the groups of this part, and those whose files may be there. It names
// the files in the job.
func (r *run) groups(shards []source.Shard) (groups, there []group, err error) {
	d, err := r.deal(r.output, shards)
	if err != nil {
		return nil, nil, err
	}
	d.note(&r.Job, r.Part)
	if r.RecordsPerFile > 0 {
		r.Job.RecordsPerFile = r.RecordsPerFile
		mine, records := d.part(shards, r.Part)
		there, err = r.output.numberedThere(r.Part)
		return []group{{shards: mine, part: records}}, there, err
	}
	r.Job.Outputs = r.output.names(shards, r.Part.N, d)
	groups = r.output.groups(shards, r.Part, d)
	return groups, groups, nil
}

// print answers the inputs to standard output.
func (r *run) print(ctx context.Context, shards []source.Shard) error {
	q := &queue{shards: shards, task: &r.Task, part: r.Part}
	err := r.runner.run(ctx, r.Stop, q.items(ctx), func(it *item) error {
		if _, err := r.Out.Write(append(it.line, '\n')); err != nil {
			return err
		}
		return r.count(recordLine{text: it.line}, true)
	})
	if err == nil {
		err = q.err
	}
	return err
}

// count counts a record, which is new or was there before.
func (r *run) count(line recordLine, answered bool) error {
	r.progress.Done++
	if line.failed() {
		r.progress.Failed++
	}
	if answered {
		r.progress.Answered++
	}
	r.report()
	return r.MaxFailures.check(r.progress.Failed, r.progress.Done)
}

func (r *run) report() {
	if r.OnDone != nil {
		r.progress.Total = r.total.Load()
		r.OnDone(r.progress)
	}
}

// add counts records that were there before.
func (r *run) add(records, failed int64) {
	r.progress.Done += records
	r.progress.Failed += failed
	r.report()
}

// group answers the inputs of a group, as far as that was not done.
func (r *run) group(ctx context.Context, g *group) error {
	retry := exists(g.retry)
	if g.complete() && !retry {
		done, err := r.done(ctx, g)
		if done || err != nil {
			return err
		}
	}
	j, prior, err := r.begin(&g.files)
	if err != nil {
		return err
	}
	if prior != nil {
		defer prior.close()
	}
	err = r.answer(ctx, g, j, prior)
	return errors.Join(err, j.close())
}

// done reports whether nothing is left to do of a group with complete results.
func (r *run) done(ctx context.Context, g *group) (bool, error) {
	s, err := g.readStats()
	if err != nil {
		return false, err
	}
	if r.RetryFailed && s.Failed > 0 {
		return false, nil
	}
	more, err := g.added(ctx, &r.Task, s)
	switch {
	case err != nil:
		return false, err
	case more:
		return false, g.reopen()
	}
	r.add(s.Records, s.Failed)
	return true, errors.Join(g.renew(s, r.Job), g.removeJournal())
}

// begin opens the journal of results, and those of an earlier run where its failures
// are asked again.
func (r *run) begin(f *files) (*journal, *priors, error) {
	retry := exists(f.retry)
	if r.RetryFailed && !retry {
		if err := f.beginRetry(); err != nil {
			return nil, nil, err
		}
		retry = exists(f.retry)
	}
	j, err := openJournal(f.journal, r.Sync)
	switch {
	case err != nil:
		return nil, nil, err
	case !retry && f.complete(): // another process has just completed them, or they are not of this job
		err := fmt.Errorf("%s: %w", f.path, atomicfile.ErrExists)
		if j.size == 0 {
			err = errors.Join(err, remove(f.journal))
		}
		return nil, nil, errors.Join(err, j.close())
	case !retry:
		return j, nil, nil
	}
	prior, err := openPriors(f.retry)
	if err == nil {
		if err = prior.skip(j.records); err == nil {
			return j, prior, nil
		}
		prior.close()
		err = fmt.Errorf("%s: %w", f.retry, err)
	}
	return nil, nil, errors.Join(err, j.close())
}

// answer fills a journal, and makes the results of it.
func (r *run) answer(ctx context.Context, g *group, j *journal, prior *priors) error {
	start, before := time.Now(), r.progress.Answered
	r.add(j.records, j.failed)
	q := &queue{shards: g.shards, task: &r.Task, part: g.part, skip: j.records, last: j.last, prior: prior}
	err := r.runner.run(ctx, r.Stop, q.items(ctx), func(it *item) error {
		if err := j.append(it.line); err != nil {
			return err
		}
		return r.count(recordLine{text: it.line}, !it.prior)
	})
	if err == nil {
		err = q.err
	}
	if err != nil {
		return err
	}
	s, err := newStats(j, g.shards, r.Job, r.progress.Answered-before, time.Since(start))
	if err != nil {
		return err
	}
	s.Seen = q.saw()
	return g.finish(j, s)
}
