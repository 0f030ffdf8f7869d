package model

import (
	"context"
	"errors"
	"slices"

	"paligemma/internal/ggml"
)

// Sequence is a text in a Cache: a prompt, and the tokens that steps append.
//
//	own           the cells that it writes
//	shared + own  of a fork: the cells that its ancestor had come first
type Sequence struct {
	cache     *Cache // nil once released
	shared    *span
	inherited int // cells of shared
	own       *span
	room      int       // tokens to reserve cells for at first
	length    int       // tokens
	prompt    int       // of which are the prompt
	adapters  *Adapters // the prompt's
}

// NewSequence begins an empty sequence that will have about room tokens. More are
// no error, but have its cells moved. The caller releases it.
func (c *Cache) NewSequence(room int) *Sequence { return &Sequence{cache: c, room: room} }

// Len returns the number of tokens.
func (s *Sequence) Len() int { return s.length }

// Fork makes a sequence with the same tokens, about room more to come. They share
// the cells so far; each appends to its own. The caller releases it, in any order.
func (s *Sequence) Fork(ctx context.Context, room int) (*Sequence, error) {
	if s.gone() {
		return nil, errReleased
	}
	fork := &Sequence{cache: s.cache, shared: s.shared, inherited: s.inherited, room: room, length: s.length, prompt: s.prompt, adapters: s.adapters}
	if s.shared == nil {
		fork.shared, fork.inherited = s.own, s.length
	}
	if fork.shared != nil {
		fork.shared.users++
	}
	// Where something is shared already, what came after it is copied: with two
	// runs of cells at most, attention is the same for all.
	if n := s.length - fork.inherited; n > 0 {
		if err := fork.move(ctx, s.own, n, n+room); err != nil {
			fork.Release()
			return nil, err
		}
	}
	return fork, nil
}

// Reserve makes room for the tokens that NewSequence or Fork were told of, which else is
// done when the first of them comes.
func (s *Sequence) Reserve(ctx context.Context) error {
	switch {
	case s.gone():
		return errReleased
	case s.own != nil:
		return nil
	}
	return s.extend(ctx, 1)
}

// Release gives the sequence's cells back. It is then good for nothing, and a
// second Release does nothing.
func (s *Sequence) Release() {
	if s.cache != nil {
		s.cache.release(s.shared)
		s.cache.release(s.own)
		*s = Sequence{}
	}
}

var errReleased = errors.New("the sequence was released, or its cache was closed")

// gone reports whether nothing can be computed with a sequence.
func (s *Sequence) gone() bool { return s == nil || s.cache == nil || s.cache.model == nil }

// extend makes room for the tokens of parts.
func extend(ctx context.Context, parts []*part) error {
	for _, p := range parts {
		if err := p.seq.extend(ctx, p.tokens); err != nil {
			return err
		}
	}
	return nil
}

// extend makes room for n more tokens.
func (s *Sequence) extend(ctx context.Context, n int) error {
	written := s.length - s.inherited
	switch {
	case s.own == nil:
		own, err := s.cache.reserve(ctx, max(n, s.room))
		s.own = own
		return err
	case written+n <= s.own.cells:
		return nil
	}
	old := s.own
	if err := s.move(ctx, old, written, max(written+n, 2*old.cells)); err != nil {
		return err
	}
	s.cache.release(old)
	return nil
}

// move reserves cells, of which the first n become a copy of a span's.
func (s *Sequence) move(ctx context.Context, from *span, n, cells int) error {
	to, err := s.cache.reserve(ctx, cells)
	if err != nil {
		return err
	}
	err = s.cache.model.copyCells(ctx, func(g *ggml.Graph, layer int) {
		g.Run(g.Copy(from.keys(g, layer, 0, n), to.keys(g, layer, 0, n)))
		g.Run(g.Copy(from.values(g, layer, 0, n), to.values(g, layer, 0, n)))
	})
	if err != nil {
		s.cache.release(to)
		return err
	}
	to.spoiled = from.spoiled
	s.own = to
	return nil
}

// cells are n tokens from the from-th on, as the attention mask sees them.
func (s *Sequence) cells(from, n int) []cell {
	cells := make([]cell, n)
	for i := range cells {
		cells[i] = s.cell(from + i)
	}
	return cells
}

// cell is the i-th token, as the attention mask sees it.
func (s *Sequence) cell(i int) cell { return cell{pos: int32(i + 1), prefix: i < s.prompt} }

// check reports why a sequence cannot be computed with by m.
func (s *Sequence) check(m *Model) error {
	switch {
	case s.gone():
		return errReleased
	case s.cache.model != m:
		return errors.New("the sequence is another model's")
	}
	return s.adapters.check(m)
}

// Prefill computes a prompt, the first tokens of an empty sequence, and returns the
// logits of the token after it. All of the prompt sees all of it.
func (m *Model) Prefill(ctx context.Context, s *Sequence, p Prompt) ([]float32, error) {
	next, err := m.First(ctx, s, p, false)
	return next.Logits, err
}

// First is Prefill for decoding: where greedy, a device may choose the likeliest token by
// itself, and logits stay there.
func (m *Model) First(ctx context.Context, s *Sequence, p Prompt, greedy bool) (Next, error) {
	b, err := m.prefix(s, p)
	if err != nil {
		return Next{}, err
	}
	b.outputs, b.greedy = []int{b.tokens() - 1}, greedy
	out, err := m.forward(ctx, b, m.options, tracing{})
	if err != nil {
		return Next{}, err
	}
	b.commit()
	return out.next(m.config.Text.Vocab)[0], nil
}

// Token is a token that a step appends to a sequence.
type Token struct {
	Sequence *Sequence
	ID       int
	Greedy   bool // of the token after it only the likeliest is asked for: see Next
}

// Next is what a model says of the token after one.
type Next struct {
	Logits []float32 // nil: only
	Best   int       // the likeliest token is known
}

// Step appends tokens to their sequences, all in one pass over the weights, and
// returns for each the logits of the token after it. Several tokens of one sequence
// follow one another. Where the weights are F32, each sequence gets the same bits
// as alone on the CPU. Sequences with the same adapters should follow one another, too.
// After an error all sequences are as before.
func (m *Model) Step(ctx context.Context, tokens []Token) ([][]float32, error) {
	next, err := m.next(ctx, tokens, false)
	if err != nil {
		return nil, err
	}
	logits := make([][]float32, len(next))
	for i := range next {
		logits[i] = next[i].Logits
	}
	return logits, nil
}

// Next is Step for decoding: where all tokens are Greedy, a device may choose the
// likeliest by itself, and logits stay there.
func (m *Model) Next(ctx context.Context, tokens []Token) ([]Next, error) {
	return m.next(ctx, tokens, !slices.ContainsFunc(tokens, func(t Token) bool { return !t.Greedy }))
}

func (m *Model) next(ctx context.Context, tokens []Token, greedy bool) ([]Next, error) {
	parts, err := m.stepParts(tokens)
	if err != nil {
		return nil, err
	}
	if err := extend(ctx, parts); err != nil {
		return nil, err
	}
	all, most := make([]Next, 0, len(tokens)), len(parts)
	for rest := parts; len(rest) > 0; {
		n := min(most, m.passParts(rest))
		some, err := m.nextOf(ctx, rest[:n], tokens[len(all):], greedy)
		switch {
		case n > 1 && errors.Is(err, ggml.ErrMemory):
			most = n / 2 // perhaps there is memory for fewer together
			continue
		case err != nil:
			return nil, err
		}
		all, rest = append(all, some...), rest[n:]
	}
	batch{parts: parts}.commit()
	return all, nil
}

// nextOf is next for parts of a step in one pass, which are not committed. They have the first
// of the tokens.
func (m *Model) nextOf(ctx context.Context, parts []*part, tokens []Token, greedy bool) ([]Next, error) {
	b, count := batch{parts: parts, greedy: greedy, step: true}, 0
	for _, p := range parts {
		count += p.tokens
		b.step = b.step && p.tokens == 1
	}
	for i, t := range tokens[:count] {
		b.ids, b.outputs = append(b.ids, t.ID), append(b.outputs, i)
	}
	options := m.options
	options.Apart = true
	out, err := m.forward(ctx, b, options, tracing{})
	if err != nil {
		return nil, err
	}
	return out.next(m.config.Text.Vocab), nil
}

// stepParts collects the tokens of each sequence.
func (m *Model) stepParts(tokens []Token) ([]*part, error) {
	parts, seen := make([]*part, 0, len(tokens)), make(map[*Sequence]bool, len(tokens))
	for _, t := range tokens {
		if n := len(parts); n > 0 && parts[n-1].seq == t.Sequence {
			parts[n-1].tokens++
			continue
		}
		if err := t.Sequence.check(m); err != nil {
			return nil, err
		}
		if seen[t.Sequence] {
			return nil, errors.New("the tokens of a sequence do not follow one another")
		}
		seen[t.Sequence] = true
		parts = append(parts, &part{seq: t.Sequence, tokens: 1})
	}
	return parts, nil
}
