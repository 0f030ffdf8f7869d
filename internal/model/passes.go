package model

import (
	"fmt"

	"paligemma/internal/ggml"
)

// passes are the graphs of passes that are kept.
type passes = recordings[passKey, *pass]

func (p *pass) recorded() *ggml.Graph { return p.graph }

// passKey is what the graphs of two passes have in common where one graph does for both.
type passKey struct {
	tokens, cells int
	slides        bool
	options       ggml.GraphOptions
	prompt        bool   // of one sequence, else a step
	images        string // where they are in the prompt
}

const (
	maxSteps   = 4    // kept graphs of steps; each has memory for a step's results
	mostKept   = 64   // tokens of one
	maxPrompts = 2    // kept graphs of prompts
	mostPrompt = 2048 // tokens of one
)

// KeepsGraphs reports whether graphs are kept for passes that are like earlier ones, as on
// other devices than the CPU.
func (m *Model) KeepsGraphs() bool { return m.masked() }

// passOf returns the graph of a batch: that of one before, where it does for this one, else
// a new one. That of a prompt is kept when another like it follows.
func (m *Model) passOf(b batch, rows lookup, o ggml.GraphOptions, t tracing) *pass {
	key, ok := m.keyOf(b, rows, o, t)
	if !ok {
		return m.record(b, rows, o, t)
	}
	slab := b.parts[0].seq.own.slab
	kept, most := &slab.steps, maxSteps
	if key.prompt {
		kept, most = &slab.prompts, maxPrompts
	}
	if p, ok := kept.find(key); ok {
		p.move(b, rows)
		return p
	}
	p := m.record(b, rows, o, t)
	if key.prompt {
		again := key == slab.latest
		if slab.latest = key; !again || !m.backend.Roomy(keptRoom) {
			return p
		}
	}
	kept.keep(key, p, most)
	return p
}

// keyOf describes the graph of a batch, if one like it may be kept: that of a step, or of a
// prompt whose images the device has. Those with adapters differ from pass to pass.
func (m *Model) keyOf(b batch, rows lookup, o ggml.GraphOptions, t tracing) (key passKey, ok bool) {
	if t != (tracing{}) || adapted(b.parts) || !m.masked() {
		return key, false
	}
	key = passKey{tokens: b.tokens(), cells: cellsInUse(b.parts), slides: slides(b.parts, m.config.Text.SlidingWindow), options: o}
	if b.step {
		return key, key.tokens <= mostKept
	}
	last := b.outputs[0] == key.tokens-1 // and no other
	if !m.onDevice || !onePrompt(b.parts) || !last || key.tokens > mostPrompt {
		return key, false
	}
	key.prompt = true
	for i, p := range b.images {
		if rows.shelf[i] == nil {
			return key, false
		}
		key.images += fmt.Sprint(p.at, "+", p.n, " ")
	}
	return key, true
}

// onePrompt reports whether the parts are the whole prompt of one sequence, all of which sees
// all of it.
func onePrompt(parts []*part) bool {
	p := parts[0]
	return len(parts) == 1 && p.seq.length == 0 && p.tokens == p.seq.prompt
}

// move makes the graph that of another batch.
func (p *pass) move(b batch, rows lookup) {
	copy(p.rows.ids, rows.ids)
	copy(p.rows.rows, rows.rows)
	for i, shelf := range rows.shelf {
		copy(p.rows.shelf[i], shelf)
	}
	p.step.cells.(*masked).move(p.graph, b)
}

// forget closes all graphs that are kept for the slab's cells.
func (s *slab) forget() {
	s.steps.forget()
	s.prompts.forget()
}
