package engine

import (
	"context"
	"errors"
	"time"

	"paligemma/internal/model"
)

// generation is a text under way.
type generation struct {
	ctx      context.Context
	prompt   model.Prompt
	limit    int // tokens to write, at most
	decoding *model.Decoding
	tokens   chan int // has room for all of them: nobody waits for a slow reader

	seq   *model.Sequence
	next  int       // the token that the next step takes
	begun time.Time // of decoding
	first time.Time // when the first token was chosen,
	last  time.Time // and the last one so far
	err   error
	ended chan struct{}
}

// always is ready to be received from.
var always = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// own is the goroutine that owns the model. It admits generations, gives each a
// token a step, and retires those that are done. Other computations run between
// two steps.
func (e *Engine) own() {
	defer close(e.done)
	var cache *model.Cache
	var active []*generation
	for {
		admit, idle := e.generations, chan struct{}(nil)
		if len(active) > 0 {
			idle = always
		}
		if len(active) >= e.parallel {
			admit = nil
		}
		select {
		case <-e.ctx.Done():
			e.shut(active, cache)
			return
		case compute := <-e.work:
			compute()
		case g := <-admit:
			if cache == nil {
				cache, g.err = e.model.NewCache(len(g.prompt.IDs) + g.limit)
			}
			if e.prefill(g, cache) {
				active = append(active, g)
			}
		case <-idle:
			active = e.step(active)
		}
	}
}

// shut ends what is under way.
func (e *Engine) shut(active []*generation, cache *model.Cache) {
	for _, g := range active {
		g.end(ErrClosed)
	}
	if cache != nil {
		cache.Close()
	}
}

// prefill computes a generation's prompt, and reports whether it goes on.
func (e *Engine) prefill(g *generation, cache *model.Cache) bool {
	if g.err == nil {
		g.err = g.ctx.Err()
	}
	if g.err != nil {
		g.end(g.err)
		return false
	}
	g.seq = cache.NewSequence(len(g.prompt.IDs) + g.limit)
	start := time.Now()
	logits, err := e.model.Prefill(g.ctx, g.seq, g.prompt)
	g.decoding.PrefillTokens, g.decoding.Prefill = len(g.prompt.IDs), time.Since(start)
	g.begun = time.Now()
	if err = e.blame(err); err != nil {
		g.end(err)
		return false
	}
	return e.accept(g, logits)
}

// step decodes a token of each generation, and returns those that go on.
func (e *Engine) step(active []*generation) []*generation {
	active = keep(active, func(g *generation) bool {
		if g.ctx.Err() != nil {
			g.end(g.ctx.Err())
			return false
		}
		return true
	})
	if len(active) == 0 {
		return nil
	}
	// One that is alone is stopped at once, of several the step is finished.
	ctx := e.ctx
	if len(active) == 1 {
		ctx = active[0].ctx
	}
	tokens := make([]model.Token, len(active))
	for i, g := range active {
		tokens[i] = model.Token{Sequence: g.seq, ID: g.next}
	}
	logits, err := e.model.Step(ctx, tokens)
	if err = e.blame(err); err != nil {
		for _, g := range active {
			g.end(err)
		}
		return nil
	}
	i := -1
	return keep(active, func(g *generation) bool {
		i++
		g.decoding.Decode = time.Since(g.begun)
		return e.accept(g, logits[i])
	})
}

// accept chooses the next token of a generation, and reports whether it goes on.
func (e *Engine) accept(g *generation, logits []float32) bool {
	id, done, err := g.decoding.Accept(logits)
	if done || err != nil {
		g.end(e.blame(err))
		return false
	}
	g.next = id
	return true
}

// end frees a generation's sequence and lets its caller go on.
func (g *generation) end(err error) {
	if g.seq != nil {
		g.seq.Release()
	}
	g.err = err
	close(g.tokens)
	close(g.ended)
}

// keep returns the generations for which f is true.
func keep(from []*generation, f func(*generation) bool) []*generation {
	var kept []*generation
	for _, g := range from {
		if f(g) {
			kept = append(kept, g)
		}
	}
	return kept
}

// compute runs f while nothing else computes, unless ctx ends or the engine is
// closed before its turn. f gets a context that ends with either.
func (e *Engine) compute(ctx context.Context, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	var err error
	finished := make(chan struct{})
	work := func() {
		defer close(finished)
		if err = ctx.Err(); err == nil {
			err = e.blame(f(ctx))
		}
	}
	select {
	case e.work <- work:
	case <-ctx.Done():
		return e.cause(ctx.Err())
	case <-e.done:
		return ErrClosed
	}
	<-finished
	return e.cause(err)
}

// cause is ErrClosed where a canceled computation was the engine's end.
func (e *Engine) cause(err error) error {
	if errors.Is(err, context.Canceled) && e.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// submit hands a generation to the owner and waits for its end. Tokens are given
// to onToken, which may be nil, as they come; an error of it ends the generation.
func (e *Engine) submit(ctx context.Context, g *generation, onToken func(id int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	g.ctx = ctx
	select {
	case e.generations <- g:
	case <-ctx.Done():
		return e.cause(ctx.Err())
	case <-e.done:
		return ErrClosed
	}
	var failed error
	for id := range g.tokens {
		if onToken == nil || failed != nil {
			continue
		}
		if failed = onToken(id); failed != nil {
			cancel()
		}
	}
	<-g.ended
	if failed != nil {
		return failed
	}
	return e.cause(g.err)
}
