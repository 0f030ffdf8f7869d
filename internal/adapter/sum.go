package adapter

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"paligemma/internal/model"
	"paligemma/internal/quote"
)

// sum is what several adapters make of a model.
type sum struct {
	config model.Config
	edits  edits
	tie    bool // all adapters of the embedding keep the head tied to it
	notes  []string
}

// add adds the edits of an adapter.
func (s *sum) add(l Loaded, more edits) error {
	for _, name := range slices.Sorted(maps.Keys(more)) {
		e := more[name]
		if name == model.TensorEmbedding {
			s.tie = s.tie && l.config.tieEmbeddings
		}
		before := s.edits[name]
		if before == nil {
			s.edits[name] = e
			continue
		}
		if err := before.add(e); err != nil {
			return l.fail(err)
		}
	}
	return nil
}

// add adds what another adapter does to the same tensor.
func (e *Edit) add(o *Edit) error {
	switch {
	case o.Stored == nil:
	case e.Stored == nil:
		e.Stored, e.own = o.Stored, o.own
	default:
		equal, err := e.Stored.equal(o.Stored)
		if err != nil {
			return err
		}
		if !equal {
			return fmt.Errorf("tensor %s replaces a tensor that the adapter %s replaces, too: name one of the two adapters",
				shown(o.Stored.Name()), quote.Line(e.Stored.adapter.path, quote.Max))
		}
		e.own = e.own || o.own
	}
	e.LowRank = append(e.LowRank, o.LowRank...)
	for _, low := range e.LowRank {
		if low.Magnitude != nil && len(e.LowRank) > 1 {
			return fmt.Errorf("%s has several updates and one of them is DoRA, which depends on the weights: merge one adapter with `convert --lora`, and the next with `quantize --lora`", e.Tensor)
		}
	}
	if e.Bias == nil {
		e.Bias = o.Bias
	} else {
		for i, b := range o.Bias {
			e.Bias[i] += b
		}
	}
	return nil
}

// result puts the edits in file order.
func (s *sum) result() (*Resolution, error) {
	tied := s.config.Tied
	if tied {
		if err := s.untie(); err != nil {
			return nil, err
		}
	}
	r := &Resolution{Config: s.config, Untied: tied && !s.config.Tied, Notes: s.notes}
	for _, spec := range s.config.Tensors() {
		if e := s.edits[spec.Name]; e != nil {
			r.Edits = append(r.Edits, *e)
		}
	}
	return r, nil
}

// untie decides whether a tied head stays the token embedding. As in PEFT's unmerged
// model, what is added to one of the two, or saved of one of them, is not the other's;
// only a copy of the base's tensor is both.
func (s *sum) untie() error {
	embedding, head := s.edits[model.TensorEmbedding], s.edits[model.TensorHead]
	var shared *Stored
	for _, e := range []*Edit{embedding, head} {
		if e != nil && e.Stored != nil && !e.own {
			shared = e.Stored
		}
	}
	same, err := s.staysTied(embedding, head)
	if err != nil {
		return err
	}
	if same {
		delete(s.edits, model.TensorHead)
		if embedding == nil && shared != nil {
			s.edits.of(model.TensorEmbedding).Stored = shared
		}
		return nil
	}
	s.config.Tied = false
	head = s.edits.of(model.TensorHead) // which the file lacks, changed or not
	if shared != nil {
		for _, e := range []*Edit{s.edits.of(model.TensorEmbedding), head} {
			e.Stored = cmp.Or(e.Stored, shared)
		}
	}
	return nil
}

// staysTied reports whether the head and the embedding have the same values after
// the edits.
func (s *sum) staysTied(embedding, head *Edit) (bool, error) {
	switch {
	case head == nil:
		return embedding == nil || s.tie || embedding.copyOnly() && !embedding.own, nil
	case embedding == nil:
		return head.copyOnly() && !head.own, nil
	case !slices.EqualFunc(embedding.LowRank, head.LowRank, sameUpdate) || head.Bias != nil:
		return false, nil
	case embedding.Stored == nil || head.Stored == nil:
		return embedding.Stored == head.Stored, nil
	}
	return embedding.Stored.equal(head.Stored)
}

// sameUpdate reports whether two updates add the same, as they do where PEFT trained
// one for the embedding and the head (ensure_weight_tying). Of values that were not read
// that is not known.
func sameUpdate(a, b model.LowRank) bool {
	return len(a.A) > 0 && a.Scale == b.Scale && a.Magnitude == nil && b.Magnitude == nil && slices.Equal(a.A, b.A) && slices.Equal(a.B, b.B)
}
