package engine

import (
	"container/list"
	"encoding/binary"
	"fmt"

	"paligemma/internal/model"
)

// prefixes keeps prompts that were computed lately. A prompt that comes again, with the
// same images, is forked in place of being computed. They belong to the owner of the
// model.
type prefixes struct {
	most   int64 // bytes
	bytes  int64
	kept   map[string]*list.Element // of *prefix
	recent *list.List               // the latest first
}

// prefix is a prompt that was computed.
type prefix struct {
	key    string
	images []*Image // of its key, which holds their addresses
	seq    *model.Sequence
	logits []float32 // of the token after it
	bytes  int64
}

func newPrefixes(most int64) *prefixes {
	return &prefixes{most: most, kept: map[string]*list.Element{}, recent: list.New()}
}

// prefixKey returns what distinguishes a prompt from others.
func prefixKey(ids []int, images []*Image) string {
	key := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		key = binary.LittleEndian.AppendUint32(key, uint32(id))
	}
	for _, image := range images {
		key = fmt.Appendf(key, " %p", image)
	}
	return string(key)
}

// find returns the prefix of a key; nil: it is not kept.
func (p *prefixes) find(key string) *prefix {
	element, ok := p.kept[key]
	if !ok {
		return nil
	}
	p.recent.MoveToFront(element)
	return element.Value.(*prefix)
}

// keep adds a prefix, in place of those that were not asked for the longest.
func (p *prefixes) keep(x *prefix) {
	p.kept[x.key] = p.recent.PushFront(x)
	p.bytes += x.bytes
	for p.bytes > p.most {
		last := p.recent.Back()
		old := p.recent.Remove(last).(*prefix)
		delete(p.kept, old.key)
		p.bytes -= old.bytes
		old.seq.Release()
	}
}
