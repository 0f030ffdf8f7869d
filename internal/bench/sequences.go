package bench

import (
	"context"
	"errors"
	"sync"
	"time"

	"paligemma/internal/engine"
)

// maxSequences is the largest number of sequences that is measured.
const maxSequences = 64

// Batch is what it takes to decode several sequences together.
type Batch struct {
	N    int     `json:"n"`       // sequences
	Step float64 `json:"step_ms"` // one token for each of them
	Rate float64 `json:"tok_s"`   // tokens a second in all sequences
}

// batches measures each number of sequences that is asked for.
func (b *bench) batches(ctx context.Context, e *engine.Engine, image *engine.Image, r *Run) error {
	for _, n := range b.Sequences {
		took, err := b.decodeTogether(ctx, e, image, n)
		if err != nil {
			return err
		}
		r.Sequences = append(r.Sequences, Batch{
			N:    n,
			Step: ms(took) / float64(b.DecodeTokens),
			Rate: float64(n*b.DecodeTokens) / took.Seconds(),
		})
		b.progress()
	}
	return nil
}

// decodeTogether returns how long DecodeTokens steps of n sequences take. The
// last sequence is admitted when all others decode, and they go on until it has
// ended: the engine's time of decoding it is that of steps of n sequences, with
// no prefill in it. The scheduler decides how many steps the others take before:
// a measurement in which one of them ended is repeated with longer ones.
func (b *bench) decodeTogether(ctx context.Context, e *engine.Engine, image *engine.Image, n int) (time.Duration, error) {
	for more := 64 + 4*n; ; more *= 2 {
		tokens := b.DecodeTokens + 1
		if n > 1 {
			tokens += more
		}
		if err := fits(e.Config(), len(b.ids), tokens); err != nil {
			return 0, err
		}
		took, outlasted, err := b.decodeLast(ctx, e, image, n-1, tokens)
		if err != nil || outlasted {
			return took, err
		}
	}
}

// decodeLast returns the time of decoding a sequence that is admitted after
// others, each of the given number of tokens, and whether they outlasted it.
func (b *bench) decodeLast(ctx context.Context, e *engine.Engine, image *engine.Image, others, tokens int) (took time.Duration, outlasted bool, err error) {
	request := engine.Request{
		Prompt:    engine.Prompt{IDs: b.ids, Images: []*engine.Image{image}},
		IgnoreEOS: true,
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, others)
	var decoding, ended sync.WaitGroup
	decoding.Add(others)
	for i := range errs {
		ended.Go(func() {
			begun := sync.OnceFunc(decoding.Done)
			defer begun() // also where there was no token
			r := request
			r.MaxTokens = tokens
			r.OnToken = func(int, string) error { begun(); return nil }
			_, errs[i] = e.Generate(ctx, r)
		})
	}
	decoding.Wait()
	request.MaxTokens = b.DecodeTokens + 1
	gen, err := e.Generate(ctx, request)
	stop()
	ended.Wait()
	if err == nil && (len(gen.Tokens) != b.DecodeTokens+1 || gen.Decode <= 0) {
		err = errNotDecoded
	}
	outlasted = true
	for _, other := range errs {
		switch {
		case err != nil || errors.Is(other, context.Canceled):
		case other == nil:
			outlasted = false
		default:
			err = other
		}
	}
	return gen.Decode, outlasted, err
}
