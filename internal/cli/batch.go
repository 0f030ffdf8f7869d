package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/batch"
	"paligemma/internal/engine"
	"paligemma/internal/limits"
	"paligemma/internal/preprocess"
	"paligemma/internal/quote"
	"paligemma/internal/task"
)

const batchHelp = `

With --output each image is a record in a file, or in a folder a file for each file of
inputs. The same command again goes on where it was broken off. IMAGE may then also be
a tar archive (WebDataset), a Parquet file, JSON Lines (.jsonl) or a COCO file (.json),
with braces for many: '{000..099}.tar'. Failures are records, and the exit code is 3.`

// batchOptions are the flags of a batch, which --output begins.
type batchOptions struct {
	Output       string
	Overwrite    bool
	RetryFailed  bool
	MaxFailures  string
	Sync         time.Duration
	Batch        string
	Shard        string
	ImageRoot    string
	ImageColumn  string
	PromptColumn string
	IDColumn     string

	RecordsPerFile int64
	coco           bool // --format coco
	Workers        int
}

// autoBatch is the value of --batch and --shard that settles the number.
const autoBatch = "auto"

// flags adds the flags, which are checked before the command runs.
func (o *batchOptions) flags(cmd *cobra.Command) {
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return o.check(cmd.Flags()) }
	f := cmd.Flags()
	f.StringVarP(&o.Output, "output", "o", "", "write a record for each image into `FILE` (.jsonl, .json, .csv, .parquet, .tar) or a folder, and go on with it when run again; - is standard output")
	f.BoolVar(&o.Overwrite, "overwrite", false, "replace files that exist (but never an input)")
	f.BoolVar(&o.RetryFailed, "retry-failed", false, "with --output: ask again what failed before")
	f.StringVar(&o.MaxFailures, "max-failures", "", "with --output: end when more than `N` records, or N%, are failures")
	f.DurationVar(&o.Sync, "sync", batch.DefaultSync, "with --output: put results on the disk every `TIME`")
	f.StringVar(&o.Batch, "batch", autoBatch, "with --output: decode `N` texts together")
	f.IntVar(&o.Workers, "workers", 1, "with --output: answer with `N` processes, which divide the threads")
	f.StringVar(&o.Shard, "shard", "", "with --output: answer part `I/N` of the inputs, I from 0; auto asks the scheduler's variables")
	f.StringVar(&o.ImageRoot, "image-root", "", "with --output: `FOLDER` that paths in files of records start from (default: that of the file)")
	f.StringVar(&o.ImageColumn, "image-column", "", "with --output: `NAME` of the column of images in Parquet (default image)")
	f.StringVar(&o.PromptColumn, "prompt-column", "", "with --output: `NAME` of the column of prompts in Parquet (default prompt, if there is one)")
	f.StringVar(&o.IDColumn, "id-column", "", "with --output: `NAME` of the column of ids in Parquet (default id, if there is one)")
	f.Int64Var(&o.RecordsPerFile, "records-per-file", 0, "with a folder as --output: write files of `N` records, 00000.jsonl and so on (default: one for each file of inputs)")
	for _, name := range batchFlags {
		needs(f, name, "output")
	}
}

// batchFlags mean nothing without --output.
var batchFlags = []string{"retry-failed", "max-failures", "sync", "batch", "workers", "shard", "records-per-file", "image-root", "image-column", "prompt-column", "id-column"}

// given reports whether a batch is asked for.
func (o *batchOptions) given() bool { return o.Output != "" }

// check finds flags that need --output, and such that exclude it.
func (o *batchOptions) check(f *pflag.FlagSet) error {
	if !o.given() {
		if typed(f, "output") {
			return usageError{errors.New("--output is empty: name a file or a folder")}
		}
		if progress, err := f.GetString("progress"); err == nil && progress == progressJSON {
			return usageError{errors.New("--progress json needs --output (-o)")}
		}
		for _, name := range batchFlags {
			if typed(f, name) {
				return usageError{fmt.Errorf("--%s needs --output (-o)", name)}
			}
		}
		return nil
	}
	for _, name := range []string{"overwrite", "retry-failed"} {
		if o.Output == batch.Stdout && typed(f, name) {
			return usageError{fmt.Errorf("--%s needs a file or a folder as --output (-o): standard output is not kept", name)}
		}
	}
	o.coco = typed(f, "format") && f.Lookup("format").Value.String() == formatCOCO
	for _, name := range []string{"stream-images", "join", "draw", "preview", "mask-dir", "label-dir", "format", "json"} {
		if name == "format" && o.coco {
			continue
		}
		if typed(f, name) {
			return usageError{fmt.Errorf("--output and --%s exclude each other", name)}
		}
	}
	return nil
}

// sources returns what the inputs of a batch are.
func (a *app) sources(q *request) batch.Inputs {
	o, in := q.batch, q.inputs
	return batch.Inputs{
		Args: in.images, FilesFrom: in.image.FilesFrom, Null: in.image.Null, Recursive: in.image.Recursive, Requests: q.requests,
		ImageRoot: o.ImageRoot, ImageColumn: o.ImageColumn, PromptColumn: o.PromptColumn, IDColumn: o.IDColumn,
		Stdin: a.In, MaxBytes: func(path string) int64 { return a.limits(path, q.limits).MaxBytes },
	}
}

// batchRun makes a batch of a request.
func (a *app) batchRun(q *request) (o batch.Options, err error) {
	b := q.batch
	o = batch.Options{
		Source: a.sources(q), Output: b.Output, Out: a.Out, Overwrite: b.Overwrite, RetryFailed: b.RetryFailed, Sync: b.Sync,
		DrawnSeed: !q.seeded,
		Limits:    func(path string) preprocess.Limits { return a.limits(path, q.limits) },
	}
	if slices.Contains(o.Source.Args, stdinName) && (o.Source.FilesFrom == stdinName || o.Source.Requests == stdinName) {
		return o, errStdinTwice
	}
	if b.Sync < 0 {
		return o, usageError{fmt.Errorf("--sync %v: want 0s or more", b.Sync)}
	}
	if o.RecordsPerFile = b.RecordsPerFile; b.RecordsPerFile < 0 {
		return o, usageError{fmt.Errorf("--records-per-file %d: want 1 or more", b.RecordsPerFile)}
	}
	if b.MaxFailures != "" {
		if o.MaxFailures, err = batch.ParseMaxFailures(b.MaxFailures); err != nil {
			return o, usageError{fmt.Errorf("--max-failures %w", err)}
		}
	}
	if b.Shard != "" {
		if o.Part, err = batch.ParsePart(b.Shard, os.Getenv); err != nil {
			return o, usageError{fmt.Errorf("--shard %w", err)}
		}
	}
	if b.Workers < 1 || b.Workers > maxWorkers {
		return o, usageError{fmt.Errorf("--workers %d: want 1 to %d", b.Workers, maxWorkers)}
	}
	if o.Parallel, err = textsTogether("batch", b.Batch); err != nil {
		return o, err
	}
	if b.coco {
		o.COCO = &batch.COCO{Labels: q.labels}
	}
	o.Task, o.Job = q.batchTask(), q.batchJob()
	return o, checkBatch(&o)
}

// checkBatch checks the names of inputs and output: wrong usage, unless the inputs are others
// than those of the run before.
func checkBatch(o *batch.Options) error {
	err := o.Check()
	if err == nil || errors.As(err, new(*batch.SharedError)) {
		return err
	}
	return usageError{err}
}

// textsTogether returns the number of texts that are decoded together, which a flag says.
func textsTogether(flag, text string) (int, error) {
	if text == autoBatch {
		return engine.DefaultParallel, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxBatch {
		return 0, usageError{fmt.Errorf("--%s %s: want auto, or a number from 1 to %d", flag, quote.Short(text), maxBatch)}
	}
	return n, nil
}

// maxBatch bounds --batch and --parallel.
const maxBatch = 256

// batchTask returns what is asked of the inputs.
func (q *request) batchTask() batch.Task {
	t := batch.Task{
		Name: q.task, Model: q.model.name(), LoRA: q.model.LoRA, Prompts: q.prompts, Wrap: q.wrap, Choices: q.suffixes, Rate: q.rate, Pick: q.pick,
		Return: max(1, q.sampling.NumReturn),
		Request: engine.Request{
			MaxTokens: q.sampling.MaxTokens, Sampling: q.sampling.Sampling, Beams: q.sampling.Beams, LogProbs: true,
			TopLogProbs: q.sampling.LogProbs, StopRepeats: q.sampling.StopRepeats,
		},
		Objects: func(prompt string, images int) (objects, masks bool) {
			switch {
			case images != 1:
				return false, false
			case q.objects != nil:
				return true, q.masks
			case q.wrap == nil || q.rate:
				return false, false
			}
			masks = task.AsksMasks(prompt)
			return masks || task.AsksBoxes(prompt), masks
		},
	}
	if q.box != nil {
		t.Box = &q.box.corners
	}
	return t
}

// batchJob returns what the records depend on, without the model.
func (q *request) batchJob() batch.Job {
	s := q.sampling
	j := batch.Job{
		Format: batch.FormatVersion, Task: q.task, Prompts: q.prompts, Choices: q.suffixes,
		Special: q.model.Special,
	}
	if q.wrap != nil {
		j.Own = q.wrap("")
	}
	if q.box != nil {
		j.Box = &q.box.corners
	}
	if q.rate {
		return j
	}
	j.MaxTokens, j.Beams, j.NumReturn, j.LogProbs, j.StopRepeats = s.MaxTokens, s.Beams, s.NumReturn, s.LogProbs, s.StopRepeats
	if s.Sampling.Temperature > 0 {
		j.Temperature, j.TopK, j.TopP, j.Seed = s.Sampling.Temperature, s.Sampling.TopK, s.Sampling.TopP, s.Sampling.Seed
	}
	return j
}

// executeBatch answers a request into files.
func (a *app) executeBatch(ctx context.Context, q request) error {
	if s, ok := readShare(); ok {
		return a.serveBatch(ctx, &q, s)
	}
	o, err := a.batchRun(&q)
	if err != nil {
		return err
	}
	a.noteBuiltIn(q.model)
	if n := q.batch.Workers; n > 1 {
		workers, err := a.startWorkers(ctx, n)
		if err != nil {
			return err
		}
		defer workers.Close()
		hello := workers.Hello()
		o.Workers, o.Parallel = workers, n*hello.Parallel
		o.Job.Model, o.Job.Adapters, o.Job.Masks = hello.Model, hello.Adapters, hello.Masks
		return a.runBatch(ctx, nil, o)
	}
	b, err := a.openBatch(&q, &o, 1)
	if err != nil {
		return err
	}
	defer b.close()
	return a.runBatch(ctx, b.engine, o)
}

// openBatch is what a batch holds of a model.
type openBatch struct {
	engine *engine.Engine
	masks  *engine.Masks // nil: none
}

// close closes the model.
func (b *openBatch) close() {
	if b.masks != nil {
		b.masks.Close()
	}
	b.engine.Close()
}

// openBatch opens the model of a batch, which some processes share the memory for, and
// completes the options by what it is.
func (a *app) openBatch(q *request, o *batch.Options, processes int) (b *openBatch, err error) {
	b = &openBatch{}
	if b.engine, err = q.model.open(o.Parallel); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	a.noteModel(b.engine)
	o.Parallel = affordable(b.engine, o.Parallel, q.sampling.MaxTokens, processes)
	o.Job.Model = batch.NewModel(q.model.name(), b.engine.File())
	if o.Job.Adapters, err = adapterSums(b.engine.Adapters()); err != nil {
		return nil, err
	}
	if q.masks || q.requests != "" || q.task == "generate" {
		if b.masks, err = openMasks(b.engine, q.maskDecoder()); err != nil {
			return nil, err
		}
		o.Task.Masks, o.Job.Masks = b.masks, b.masks != nil
	}
	return b, nil
}

// runBatch answers the inputs, with an engine or with workers.
func (a *app) runBatch(ctx context.Context, e *engine.Engine, o batch.Options) error {
	stop := make(chan struct{})
	o.Stop = stop
	var giveBack func()
	giveBack = a.interrupts.take(sync.OnceFunc(func() {
		close(stop)
		a.note("stopping: what is under way is finished; Ctrl-C again ends at once")
		giveBack() // the next one is not taken
	}), syscall.SIGINT)
	defer giveBack()
	report := a.newBatchReport()
	o.OnDone, o.Total = report.show, report.shown()
	done, err := batch.Run(ctx, e, o)
	report.close(done)
	switch {
	case errors.Is(err, batch.ErrStopped):
		return context.Canceled
	case err != nil:
		return err
	case done.Failed > 0:
		return partlyError{int(done.Failed), int(done.Done), "records"}
	}
	return nil
}

// adapterSums returns what distinguishes adapters: a hash of each one's files, and its
// scale.
func adapterSums(adapters []engine.Adapter) (sums []string, err error) {
	for _, a := range adapters {
		sum := sha256.New()
		for _, path := range a.Files {
			if err := addFile(sum, path); err != nil {
				return nil, err
			}
		}
		sums = append(sums, fmt.Sprintf("sha256 %x, scale %g", sum.Sum(nil), a.Scale))
	}
	return sums, nil
}

// addFile writes a file's bytes to w.
func addFile(w io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return pathError(path, err)
	}
	defer file.Close()
	if _, err = io.Copy(w, file); err != nil {
		return pathError(path, err)
	}
	return nil
}

// maskDecoder returns the value of --mask-decoder.
func (q *request) maskDecoder() string {
	if q.objects == nil {
		return ""
	}
	return q.objects.MaskDecoder
}

// textTokens are those of a prompt, where it is not known yet.
const textTokens = 64

// affordable returns how many texts can be decoded together in half of the free memory,
// which some processes share.
func affordable(e *engine.Engine, parallel, maxTokens, processes int) int {
	c := e.Config()
	m := limits.FreeMemory()
	free := min(m.Physical, m.Address, m.Data)
	if free == limits.Unlimited {
		return parallel
	}
	tokens := min(c.Text.Context, c.Vision.ImageTokens+textTokens+maxTokens)
	return int(max(1, min(int64(parallel), free/2/int64(processes)/max(1, e.SequenceMemory(tokens)))))
}
