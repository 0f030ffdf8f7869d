package model

import (
	"testing"

	"paligemma/internal/ggml"
)

// TestKeyOf asks which passes may have their graphs kept: steps and prompts that are alike, and
// not too large, of which nothing but values of inputs differs from pass to pass.
func TestKeyOf(t *testing.T) {
	backend, err := ggml.NewBackend(ggml.Options{Device: "cpu", Threads: 1, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	step := func(tokens int) (b batch) {
		b = batch{step: true, ids: make([]int, tokens)}
		for i := range tokens {
			own := &span{slab: &slab{}, first: 32 * i, cells: 32}
			b.parts = append(b.parts, &part{seq: &Sequence{own: own, prompt: 3, length: 3}, tokens: 1})
		}
		return b
	}
	prompt := func(tokens int, change func(b *batch, s *Sequence)) batch {
		b := step(1)
		b.step, b.ids, b.outputs = false, make([]int, tokens), []int{tokens - 1}
		b.images = []placed{{at: 0, n: 2}, {at: 3, n: 1}}
		b.parts[0].tokens, b.parts[0].seq.prompt, b.parts[0].seq.length = tokens, tokens, 0
		if change != nil {
			change(&b, b.parts[0].seq)
		}
		return b
	}
	shelved := [][]int32{{1, 2}, {4}}
	for _, c := range []struct {
		name   string
		batch  batch
		shelf  [][]int32
		traced bool
		host   bool // looks embeddings up
		kept   bool
	}{
		{name: "a step", batch: step(mostKept), kept: true},
		{name: "a step of embeddings of the host", batch: step(2), host: true, kept: true},
		{name: "a step of too many", batch: step(mostKept + 1)},
		{name: "a traced step", batch: step(1), traced: true},
		{name: "a prompt", batch: prompt(mostPrompt, nil), shelf: shelved, kept: true},
		{name: "a long prompt", batch: prompt(mostPrompt+1, nil), shelf: shelved},
		{name: "a traced prompt", batch: prompt(9, nil), shelf: shelved, traced: true},
		{name: "a prompt of embeddings of the host", batch: prompt(9, nil), host: true},
		{name: "a picture elsewhere", batch: prompt(9, nil), shelf: [][]int32{{1, 2}, nil}},
		{name: "adapters", batch: prompt(9, func(_ *batch, s *Sequence) { s.adapters = &Adapters{} }), shelf: shelved},
		{name: "more logits", batch: prompt(9, func(b *batch, _ *Sequence) { b.outputs = []int{7, 8} }), shelf: shelved},
		{name: "other logits", batch: prompt(9, func(b *batch, _ *Sequence) { b.outputs = []int{7} }), shelf: shelved},
		{name: "a suffix", batch: prompt(9, func(_ *batch, s *Sequence) { s.prompt = 7 }), shelf: shelved},
		{name: "prompts of two", batch: prompt(9, func(b *batch, _ *Sequence) { b.parts = append(b.parts, step(1).parts...) }), shelf: shelved},
		{name: "a prompt that goes on", batch: prompt(9, func(_ *batch, s *Sequence) { s.length = 1 }), shelf: shelved},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &Model{backend: backend, onDevice: !c.host}
			key, ok := m.keyOf(c.batch, lookup{shelf: c.shelf}, m.options, tracing{hidden: c.traced})
			if ok != c.kept {
				t.Errorf("may be kept: %t", ok)
			}
			want := passKey{tokens: c.batch.tokens(), cells: cellsInUse(c.batch.parts)}
			if !c.batch.step {
				want.prompt, want.images = true, "0+2 3+1 "
			}
			if ok && key != want {
				t.Errorf("the key is %+v, want %+v", key, want)
			}
		})
	}
}
