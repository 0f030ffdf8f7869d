package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"paligemma/internal/batch"
	"paligemma/internal/ggml"
	"paligemma/internal/quote"
)

// workerVariable makes a process that has the arguments of a batch a worker of it. Its
// value is how many workers there are, and how many of them share the processors that
// this one may run on. No one sets it by hand.
const workerVariable = "_PALIGEMMA_WORKER"

// Descriptors of a worker: its questions and replies. Standard input is the batch's.
const (
	questionsFile = 3
	repliesFile   = 4
)

// share is what a worker has of the machine.
type share struct {
	workers int // of the batch
	sharing int // of them, the processors that this one may run on
}

// readShare returns the share of this process, if it is a worker.
func readShare() (s share, ok bool) {
	n, err := fmt.Sscanf(os.Getenv(workerVariable), "%d/%d", &s.sharing, &s.workers)
	return s, n == 2 && err == nil && s.sharing > 0 && s.workers >= s.sharing
}

// threads returns how many threads a worker has of those that are asked for; 0: of all.
func (s share) threads(asked int) int {
	if asked > 0 {
		return max(1, asked/s.workers)
	}
	return max(1, ggml.DefaultThreads()/s.sharing)
}

// maxWorkers bounds --workers.
const maxWorkers = 256

// startWorkers starts the workers of a batch, on the nodes of memory in turn.
func (a *app) startWorkers(ctx context.Context, n int) (*batch.Workers, error) {
	if a.stdinRead {
		return nil, usageError{errors.New("--workers has no standard input for a text: write it into a file (@FILE)")}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("--workers: %w", err)
	}
	nodes := memoryNodes()
	return batch.StartWorkers(ctx, n, func(_ context.Context, index int) (*batch.Process, error) {
		cmd := &exec.Cmd{Path: self, Args: append([]string{os.Args[0]}, a.args...), Stderr: os.Stderr}
		sharing := n
		var bound []int
		if len(nodes) > 1 {
			bound = nodes[index%len(nodes)]
			sharing = (n - index%len(nodes) + len(nodes) - 1) / len(nodes)
		}
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d/%d", workerVariable, sharing, n))
		return startWorker(cmd, bound)
	})
}

// startWorker starts a process on some processors, any if there are none.
func startWorker(cmd *exec.Cmd, processors []int) (*batch.Process, error) {
	questions, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer questions.Close()
	out, replies, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	defer replies.Close()
	cmd.ExtraFiles = []*os.File{questions, replies}
	if err := startOn(cmd, processors); err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	return &batch.Process{In: in, Out: out, Kill: cmd.Process.Kill, Wait: func() error {
		defer out.Close()
		return cmd.Wait()
	}}, nil
}

// serveBatch is the work of a worker: it opens the model, says so, and answers.
func (a *app) serveBatch(ctx context.Context, q *request, s share) error {
	a.common.Quiet = true
	defer a.interrupts.take(func() {}, syscall.SIGINT)() // the batch decides when to end
	in, out := os.NewFile(questionsFile, "questions"), os.NewFile(repliesFile, "replies")
	o, err := a.batchRun(q)
	if err == nil {
		q.model.Threads = s.threads(q.model.Threads)
		var b *openBatch
		if b, err = a.openBatch(q, &o, s.workers); err == nil {
			defer b.close()
			err = batch.Greet(out, batch.Hello{Model: o.Job.Model, Adapters: o.Job.Adapters, Masks: o.Job.Masks, Parallel: o.Parallel})
			if err != nil {
				return err
			}
			return batch.Serve(ctx, b.engine, o, in, out)
		}
	}
	return batch.Greet(out, batch.Hello{Failure: quote.Line(err.Error(), quote.Max), Code: exitCode(err)})
}
