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
	most      int64 // bytes
	bytes     int64
	imageSize int64                    // bytes of an image
	images    map[*Image]int           // those that are held: by how many prefixes
	kept      map[string]*list.Element // of *prefix
	recent    *list.List               // the latest first
}

// prefix is a prompt that was computed.
type prefix struct {
	key      string
	images   []*Image  // of its key, which holds their addresses,
	adapters *Adapters // and that of these
	seq      *model.Sequence
	logits   []float32 // of the token after it
	bytes    int64     // of the rest
}

func newPrefixes(most, imageSize int64) *prefixes {
	return &prefixes{most: most, imageSize: imageSize, images: map[*Image]int{}, kept: map[string]*list.Element{}, recent: list.New()}
}

// prefixKey returns what distinguishes a prompt from others.
func prefixKey(ids []int, images []*Image, adapters *Adapters) string {
	key := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		key = binary.LittleEndian.AppendUint32(key, uint32(id))
	}
	for _, image := range images {
		key = fmt.Appendf(key, " %p", image)
	}
	if adapters != nil {
		key = fmt.Appendf(key, " with %p", adapters)
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
	for _, image := range x.images {
		if p.images[image]++; p.images[image] == 1 {
			p.bytes += p.imageSize
		}
	}
	for p.bytes > p.most {
		p.drop(p.recent.Back())
	}
}

// dropWith forgets all prefixes that were computed with adapters.
func (p *prefixes) dropWith(a *Adapters) {
	for element := p.recent.Front(); element != nil; {
		next := element.Next()
		if element.Value.(*prefix).adapters == a {
			p.drop(element)
		}
		element = next
	}
}

// dropAll forgets all prefixes, and reports whether there were any. It may be called on nil.
func (p *prefixes) dropAll() bool {
	if p == nil || p.recent.Len() == 0 {
		return false
	}
	for p.recent.Len() > 0 {
		p.drop(p.recent.Back())
	}
	return true
}

// drop forgets a prefix, and the images that no other one has.
func (p *prefixes) drop(element *list.Element) {
	old := p.recent.Remove(element).(*prefix)
	delete(p.kept, old.key)
	p.bytes -= old.bytes
	for _, image := range old.images {
		if p.images[image]--; p.images[image] == 0 {
			delete(p.images, image)
			p.bytes -= p.imageSize
		}
	}
	old.seq.Release()
}
