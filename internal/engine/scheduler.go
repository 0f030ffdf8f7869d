package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"paligemma/internal/model"
)

// generation is a text under way.
type generation struct {
	ctx      context.Context
	prompt   model.Prompt
	images   []*Image  // of the prompt
	adapters *Adapters // the prompt's; nil: none
	limit    int       // tokens to write, at most
	decoding *model.Decoding
	tokens   chan token // has room for all of them: nobody waits for a slow reader

	seq   *model.Sequence
	next  int       // the token that the next step takes
	begun time.Time // of decoding
	first time.Time // when the first token was chosen,
	last  time.Time // and the last one so far
	err   error
	ended chan struct{}
}

// token is a token of a text, as its caller gets it.
type token struct {
	id       int
	logProbs *model.StepLogProbs // nil: nobody asked
}

// newToken describes the token that was just chosen.
func (g *generation) newToken(id int) token {
	if n := len(g.decoding.LogProbs); n > 0 {
		return token{id, &g.decoding.LogProbs[n-1]}
	}
	return token{id: id}
}

// owner is the goroutine that owns the model, and what only it touches.
type owner struct {
	*Engine
	cache  *model.Cache  // nil before the first generation
	active []*generation // those with the same adapters follow one another
	owed   time.Duration // of steps, before anything else has its turn
}

// own admits generations, gives each a token a step, and retires those that are done.
// Other computations run between two steps, one at a time.
func (e *Engine) own() {
	defer close(e.done)
	o := &owner{Engine: e}
	for o.turn() {
		o.count()
	}
	o.shut()
}

// turn is one computation. It reports whether there may be more.
func (o *owner) turn() bool {
	if o.ctx.Err() != nil {
		return false
	}
	if len(o.active) == 0 {
		select {
		case <-o.ctx.Done():
		case compute := <-o.work:
			compute()
		case g := <-o.generations:
			o.admit(g)
		}
		o.owed = 0
		return true
	}
	if o.owed <= 0 && o.between() {
		return true
	}
	start := time.Now()
	o.step()
	o.owed -= time.Since(start)
	return true
}

// between does what waits for its turn between two steps. It reports whether there
// was something: the generations under way are then owed steps, unless what is new comes
// first.
func (o *owner) between() bool {
	admit := o.generations
	if len(o.active) >= o.parallel {
		admit = nil
	}
	start := time.Now()
	select {
	case compute := <-o.work:
		compute()
	case g := <-admit:
		o.admit(g)
	default:
		return false
	}
	if o.share > 0 {
		o.owed = max(1, time.Duration(float64(time.Since(start))*(1-o.share)/o.share))
	}
	return true
}

// admit computes the prompt of a generation, and has it go on if it is to.
func (o *owner) admit(g *generation) {
	if !o.prefill(g) {
		return
	}
	at := len(o.active)
	for i, other := range o.active {
		if other.adapters == g.adapters {
			at = i + 1
		}
	}
	o.active = slices.Insert(o.active, at, g)
}

// shut ends what is under way.
func (o *owner) shut() {
	for _, g := range o.active {
		g.end(ErrClosed)
	}
	if o.cache != nil {
		o.cache.Close()
	}
}

// prefill computes a generation's prompt, and reports whether it goes on.
func (o *owner) prefill(g *generation) bool {
	if err := g.ctx.Err(); err != nil {
		g.end(err)
		return false
	}
	start := time.Now()
	o.backend.TakeCounts()
	next, err := o.begin(g)
	if errors.Is(err, ErrMemory) && o.prefixes.dropAll() {
		next, err = o.begin(g)
	}
	g.decoding.PrefillGraphs = o.backend.TakeCounts()
	g.decoding.PrefillTokens, g.decoding.Prefill = len(g.prompt.IDs), time.Since(start)
	g.begun = time.Now()
	if err = o.blame(err); err != nil {
		g.end(err)
		return false
	}
	return o.accept(g, next)
}

// begin makes the sequence of a generation, which has its prompt, and returns what is
// known of the next token. It may be called again after an error.
func (o *owner) begin(g *generation) (next model.Next, err error) {
	if g.seq != nil {
		g.seq.Release()
		g.seq = nil
	}
	n := len(g.prompt.IDs)
	if o.cache == nil {
		if o.cache, err = o.model.NewCache(n + g.limit); err != nil {
			return next, err
		}
	}
	bytes := o.SequenceMemory(n) + int64(4*o.config.Text.Vocab)
	if o.prefixes == nil || bytes+int64(len(g.images))*o.ImageBytes() > o.prefixes.most {
		g.seq = o.cache.NewSequence(n + g.limit)
		return o.model.First(g.ctx, g.seq, g.prompt, g.decoding.Greedy())
	}
	key := prefixKey(g.prompt.IDs, g.images, g.adapters)
	found := o.prefixes.find(key)
	o.countPrefix(n, found != nil)
	if found == nil {
		found = &prefix{key: key, images: g.images, adapters: g.adapters, seq: o.cache.NewSequence(n), bytes: bytes}
		if found.logits, err = o.model.Prefill(g.ctx, found.seq, g.prompt); err != nil {
			found.seq.Release()
			return next, err
		}
		o.prefixes.keep(found)
	}
	if g.seq, err = found.seq.Fork(g.ctx, g.limit); err != nil {
		return next, err
	}
	return model.Next{Logits: slices.Clone(found.logits)}, g.seq.Reserve(g.ctx) // now: in a step it would be an error of all
}

// step decodes a token of each generation, and leaves those that go on.
func (o *owner) step() {
	o.active = keep(o.active, func(g *generation) bool {
		if g.ctx.Err() != nil {
			g.end(g.ctx.Err())
			return false
		}
		return true
	})
	if len(o.active) == 0 {
		return
	}
	// One that is alone is stopped at once, of several the step is finished.
	ctx := o.ctx
	if len(o.active) == 1 {
		ctx = o.active[0].ctx
	}
	o.backend.TakeCounts()
	next := o.next(ctx)
	graphs := o.backend.TakeCounts()
	if len(o.active) == 0 {
		return
	}
	o.countStep(o.active)
	i := -1
	o.active = keep(o.active, func(g *generation) bool {
		i++
		g.decoding.Decode = time.Since(g.begun)
		g.decoding.DecodeGraphs.Add(graphs)
		return o.accept(g, next[i])
	})
}

// next computes a step of all generations, and returns what is known of the next token of
// each. Those that it cannot be computed for end: where memory is refused, each is tried alone.
func (o *owner) next(ctx context.Context) []model.Next {
	next, err := o.nextOf(ctx, o.active)
	if err == nil {
		return next
	}
	alone := len(o.active) > 1 && errors.Is(err, ErrMemory)
	o.active = keep(o.active, func(g *generation) bool {
		if alone {
			var own []model.Next
			own, err = o.nextOf(ctx, []*generation{g})
			next = append(next, own...)
		}
		if err != nil {
			g.end(err)
		}
		return err == nil
	})
	return next
}

// nextOf computes a step of some generations.
func (o *owner) nextOf(ctx context.Context, of []*generation) ([]model.Next, error) {
	tokens := make([]model.Token, len(of))
	for i, g := range of {
		tokens[i] = model.Token{Sequence: g.seq, ID: g.next, Greedy: g.decoding.Greedy()}
	}
	next, err := o.model.Next(ctx, tokens)
	return next, o.blame(err)
}

// accept chooses the next token of a generation, and reports whether it goes on.
func (e *Engine) accept(g *generation, next model.Next) bool {
	id, done, err := g.decoding.Accept(next)
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
// closed before its turn. f gets a context that ends with either. After ErrLost f may
// still run: what it writes may not be read.
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
	case <-e.lost:
		return ErrLost
	}
	select {
	case <-finished:
		return e.cause(err)
	case <-e.lost:
		return ErrLost
	}
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
func (e *Engine) submit(ctx context.Context, g *generation, onToken func(token) error) error {
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
	case <-e.lost:
		return ErrLost
	}
	return e.relay(g, cancel, onToken)
}

// relay gives the tokens of a generation to onToken until it ends, and returns its error.
func (e *Engine) relay(g *generation, cancel func(), onToken func(token) error) (failed error) {
	for {
		select {
		case t, ok := <-g.tokens:
			if !ok {
				if <-g.ended; failed == nil {
					failed = e.cause(g.err)
				}
				return failed
			}
			if onToken == nil || failed != nil {
				continue
			}
			if failed = onToken(t); failed != nil {
				cancel()
			}
		case <-e.lost:
			return ErrLost
		}
	}
}
