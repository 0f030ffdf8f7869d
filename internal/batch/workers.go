package batch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"paligemma/internal/batch/source"
)

// Process is a worker that was started: a process that runs [Serve].
type Process struct {
	In   io.WriteCloser // gets questions
	Out  io.Reader      // gives replies
	Wait func() error   // returns how it ended
	Kill func() error
}

// Workers are processes that answer the items of a run. What they share is the run's:
// its order, its files and its end.
type Workers struct {
	start func(ctx context.Context, index int) (*Process, error)
	seed  uint64
	hello Hello // of the first one

	listening sync.WaitGroup

	mu    sync.Mutex
	freed *sync.Cond
	all   []*worker
	next  int64 // number of a question
	left  int   // starts in place of those that died
	err   error // that ends the run
}

// worker is one of them.
type worker struct {
	index   int
	process *Process
	asked   map[int64]chan *reply // questions under way; closed: the worker died
	free    int                   // questions that it takes
	last    string                // image that it was asked about last

	writing sync.Mutex
}

// restarts is how often workers are started in place of those that died, for each.
const restarts = 4

// StartWorkers starts n workers, and returns when they are ready.
func StartWorkers(ctx context.Context, n int, start func(ctx context.Context, index int) (*Process, error)) (*Workers, error) {
	w := &Workers{start: start, left: restarts * n, all: make([]*worker, n)}
	w.freed = sync.NewCond(&w.mu)
	for i := range n {
		hello, err := w.begin(ctx, i)
		if err != nil {
			w.Close()
			return nil, err
		}
		if i == 0 {
			w.hello = hello
		}
	}
	return w, nil
}

// Hello returns what the workers say of their model.
func (w *Workers) Hello() Hello { return w.hello }

// WorkerError says that a worker cannot answer.
type WorkerError struct {
	Message string
	Code    int // that its process would exit with
}

// Error says why.
func (e *WorkerError) Error() string { return e.Message }

// begin starts a worker and waits until it is ready.
func (w *Workers) begin(ctx context.Context, index int) (Hello, error) {
	p, err := w.start(ctx, index)
	if err != nil {
		return Hello{}, fmt.Errorf("start a worker: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = p.Kill() })()
	replies := json.NewDecoder(bufio.NewReaderSize(p.Out, 1<<16))
	var hello Hello
	if err = replies.Decode(&hello); err == nil && hello.Failure != "" {
		err = &WorkerError{hello.Failure, hello.Code}
	} else if err != nil {
		err = fmt.Errorf("a worker ended before it was ready (%w)", err)
	}
	if err != nil {
		p.In.Close()
		_ = p.Wait()
		return hello, err
	}
	one := &worker{index: index, process: p, asked: map[int64]chan *reply{}, free: hello.Parallel + spareWorkers}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[index] = one
	if w.err != nil { // the run has ended meanwhile
		p.In.Close()
	}
	w.listening.Go(func() { w.listen(ctx, one, replies) })
	return hello, nil
}

// listen hands on the replies of a worker. When it dies another one is started.
func (w *Workers) listen(ctx context.Context, one *worker, replies *json.Decoder) {
	for {
		r := new(reply)
		if replies.Decode(r) != nil {
			break
		}
		w.mu.Lock()
		to := one.asked[r.Number]
		delete(one.asked, r.Number)
		w.mu.Unlock()
		if to != nil {
			to <- r
		}
	}
	_ = one.process.Kill() // what it says is not understood, or it has ended
	one.process.In.Close()
	_ = one.process.Wait()
	w.mu.Lock()
	for _, to := range one.asked {
		close(to)
	}
	one.asked, one.free = nil, 0
	again := w.err == nil && ctx.Err() == nil && w.left > 0
	w.left--
	if !again && w.err == nil {
		w.err = errors.New("workers die again and again: run the command again with fewer, to go on")
	}
	w.freed.Broadcast()
	w.mu.Unlock()
	if !again {
		return
	}
	_, err := w.begin(ctx, one.index)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.freed.Broadcast()
}

// atOnce returns how many items are at work at a time.
func (w *Workers) atOnce() int { return len(w.all) * (w.hello.Parallel + spareWorkers) }

// take waits for a worker that takes a question: the one that was asked about the same
// image last, else the one with the least to do.
func (w *Workers) take(ctx context.Context, image string) (*worker, chan *reply, int64, error) {
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.freed.Broadcast()
	})()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if err := errors.Join(ctx.Err(), w.err); err != nil {
			return nil, nil, 0, err
		}
		if one := w.best(image); one != nil {
			one.free--
			one.last = image
			w.next++
			to := make(chan *reply, 1)
			one.asked[w.next] = to
			return one, to, w.next, nil
		}
		w.freed.Wait()
	}
}

// best returns the worker that a question about an image goes to; nil: none takes one.
func (w *Workers) best(image string) (best *worker) {
	for _, one := range w.all {
		switch {
		case one == nil || one.free == 0:
		case image != "" && one.last == image:
			return one
		case best == nil || one.free > best.free:
			best = one
		}
	}
	return best
}

// give says that a worker has answered.
func (w *Workers) give(one *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if one.asked != nil {
		one.free++
	}
	w.freed.Broadcast()
}

// ask has a worker answer an item.
func (w *Workers) ask(ctx context.Context, it *item) {
	image := ""
	if images := it.record.Images; len(images) > 0 && images[0].File() {
		image = images[0].Name
	}
	tries := len(w.all) + 1 // all may have died at once
	for range tries {
		one, to, number, err := w.take(ctx, image)
		if err != nil {
			it.fatal = err
			return
		}
		one.send(newQuestion(number, w.seed, it))
		select {
		case r := <-to:
			w.give(one)
			if r != nil {
				it.line, it.fatal = r.Line, r.fatal()
				return
			}
		case <-ctx.Done():
			w.give(one)
			it.fatal = ctx.Err()
			return
		}
	}
	it.fatal = fmt.Errorf("%d workers died while they answered %s: run the command again to go on", tries, shownID([]byte(it.id)))
}

// send sends a question. Where that fails, the worker is dying: who listens to it says so.
func (one *worker) send(q question) {
	one.writing.Lock()
	defer one.writing.Unlock()
	_ = writeMessage(one.process.In, q)
}

// patience is how long workers may take to end.
const patience = time.Second

// Close ends the workers, and returns when they have ended.
func (w *Workers) Close() {
	w.mu.Lock()
	if w.err == nil {
		w.err = errors.New("the run has ended")
	}
	all := slices.Clone(w.all)
	w.freed.Broadcast()
	w.mu.Unlock()
	for _, one := range all {
		if one == nil {
			continue
		}
		one.process.In.Close() // it ends by itself
		defer time.AfterFunc(patience, func() { _ = one.process.Kill() }).Stop()
	}
	w.listening.Wait()
}

// hand has the workers answer an item. What is wrong with it before it is asked becomes
// its record here, and so does what only this process can read.
func (r *runner) hand(ctx context.Context, it *item) {
	if it.err != nil {
		r.answer(ctx, it)
		return
	}
	held := it.bytes()
	for i := range it.record.Images {
		image := &it.record.Images[i]
		if !image.File() || image.Name != source.Stdin {
			continue
		}
		image.Data, image.Err = r.images.read(image.Name, r.images.limits(image.Name).MaxBytes)
	}
	r.workers.ask(ctx, it)
	r.ahead.give(held)
	it.record.Images = nil
}
