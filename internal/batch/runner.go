package batch

import (
	"context"
	"errors"
	"iter"
	"sync"
	"syscall"

	"paligemma/internal/batch/source"
	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/model"
)

// item is a record under way, or one of its prompts.
type item struct {
	record source.Record
	id     string
	prompt string
	err    error     // why it cannot be asked
	prior  bool      // its line is of an earlier run
	file   *rollFile // that begins here, and nothing is asked; nil: none

	done  chan struct{} // closed when what follows is there
	line  []byte        // of the journal
	fatal error         // ends the run: nothing could be answered after it
}

const (
	// windowFactor says how many items may be ahead of the one that is written next,
	// for each sequence: texts of different lengths end in another order.
	windowFactor = 4
	// spareWorkers says how many items are at work besides those that are decoded
	// together: their images are read, decoded and encoded in the meantime.
	spareWorkers = 3
	// maxAhead bounds the bytes of images that were read from archives and wait.
	maxAhead = 64 << 20
)

// runner answers items, several at a time.
type runner struct {
	engine   *engine.Engine
	task     Task
	images   *images
	parallel int
	ahead    *budget
	workers  *Workers // that answer in place of the engine; nil: none
}

func newRunner(e *engine.Engine, o *Options) *runner {
	return &runner{
		engine: e, task: o.Task, parallel: o.Parallel, workers: o.Workers,
		images: newImages(e, o, o.Parallel+spareWorkers),
		ahead:  newBudget(maxAhead),
	}
}

// run answers the items and gives each to emit, in their order, as soon as those
// before it are done. When stop is closed no more are begun, and the error is
// ErrStopped after those under way are done. Reading the items may block: it is then
// left behind.
func (r *runner) run(ctx context.Context, stop <-chan struct{}, items iter.Seq[*item], emit func(*item) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	order, work := make(chan *item, windowFactor*r.parallel), make(chan *item)
	atOnce := r.parallel + spareWorkers
	if r.workers != nil {
		atOnce = r.workers.atOnce()
	}
	for range atOnce {
		workers.Go(func() { r.work(ctx, work) })
	}
	all := false // items were handed on; read after order is closed
	go func() {
		defer close(order)
		all = r.feed(ctx, stop, items, order, work)
	}()
	for {
		select {
		case it, ok := <-order:
			switch {
			case !ok && ctx.Err() != nil:
				return ctx.Err()
			case !ok && !all:
				return ErrStopped
			case !ok:
				return nil
			}
			if err := r.write(ctx, it, emit); err != nil {
				return err
			}
		case <-stop:
			return r.drain(ctx, order, emit)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ErrStopped is the error of a run that was stopped before its end. All that was
// begun is done.
var ErrStopped = errors.New("stopped")

// drain writes what was begun before the run was stopped.
func (r *runner) drain(ctx context.Context, order <-chan *item, emit func(*item) error) error {
	for {
		select {
		case it, ok := <-order:
			if !ok {
				return ErrStopped
			}
			if err := r.write(ctx, it, emit); err != nil {
				return err
			}
		default:
			return ErrStopped
		}
	}
}

// feed hands items to the workers, and to the writer in their order. It reports
// whether it came to their end.
func (r *runner) feed(ctx context.Context, stop <-chan struct{}, items iter.Seq[*item], order, work chan<- *item) bool {
	for it := range items {
		select {
		case <-stop:
			return false
		default:
		}
		if !r.ahead.take(ctx, it.bytes()) {
			return false
		}
		select {
		case order <- it:
		case <-stop:
			return false
		case <-ctx.Done():
			return false
		}
		if it.prior {
			close(it.done)
			continue
		}
		select {
		case work <- it:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// work answers items until there are no more.
func (r *runner) work(ctx context.Context, work <-chan *item) {
	for {
		select {
		case it := <-work:
			if r.workers != nil {
				r.hand(ctx, it)
			} else {
				r.answer(ctx, it)
			}
			close(it.done)
		case <-ctx.Done():
			return
		}
	}
}

// write waits for an item and writes it.
func (r *runner) write(ctx context.Context, it *item, emit func(*item) error) error {
	select {
	case <-it.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if it.fatal != nil {
		return it.fatal
	}
	return emit(it)
}

// bytes returns how many bytes of images the item holds.
func (it *item) bytes() (n int64) {
	for i := range it.record.Images {
		n += int64(len(it.record.Images[i].Data))
	}
	return n
}

// fatal reports whether nothing can be answered after an error: the model or its
// memory is gone, no more files can be opened, or the run was ended.
func fatal(ctx context.Context, err error) bool {
	var bad *engine.ModelError
	switch {
	case ctx.Err() != nil, errors.Is(err, engine.ErrClosed), errors.Is(err, ggml.ErrMemory),
		errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return true
	case errors.Is(err, model.ErrNaN):
		return false
	}
	return errors.As(err, &bad)
}

// budget bounds a sum. One part alone may exceed it.
type budget struct {
	mu   sync.Mutex
	free *sync.Cond
	used int64
	most int64
}

func newBudget(most int64) *budget {
	b := &budget{most: most}
	b.free = sync.NewCond(&b.mu)
	return b
}

// take waits until there is room, and reports false where ctx ends first.
func (b *budget) take(ctx context.Context, n int64) bool {
	defer context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.free.Broadcast()
	})()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.used > 0 && b.used+n > b.most {
		if ctx.Err() != nil {
			return false
		}
		b.free.Wait()
	}
	b.used += n
	return ctx.Err() == nil
}

// give returns what was taken.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.free.Broadcast()
}
