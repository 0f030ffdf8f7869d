package tokenizer

import "unicode/utf8"

// symbol is a piece of a word that is being merged, and a link to its
// neighbors: their indexes, -1 at the ends.
type symbol struct {
	id         int32 // -1 once merged into the one before it
	prev, next int32
}

// candidate is a merge that may be done: order is its rank and, among equals,
// the place of its left symbol.
type candidate struct {
	order uint64
	made  int32
}

// encodeWord appends the ids of a text without added tokens: the merges are
// done in the order of their ranks, the leftmost first, until none is left.
//
// As in the library (models/bpe/word.rs, merge_all), a candidate stays in the
// queue when its symbols change, and counts if what is there when its turn
// comes makes the same piece.
func (e *encoder) encodeWord(ids []int, text string) []int {
	if text == "" {
		return ids
	}
	symbols := e.symbols(text)
	todo := make(queue, 0, len(symbols))
	for i := 1; i < len(symbols); i++ {
		if c, ok := e.candidate(symbols, int32(i-1), int32(i)); ok {
			todo = append(todo, c)
		}
	}
	todo.order()
	for len(todo) > 0 {
		top := todo.pop()
		at := int32(uint32(top.order))
		s := &symbols[at]
		if s.id < 0 || s.next < 0 {
			continue
		}
		right := &symbols[s.next]
		if made, _, ok := e.merge(s.id, right.id); !ok || made != top.made {
			continue
		}
		s.id, s.next, right.id = top.made, right.next, -1
		if s.next >= 0 {
			symbols[s.next].prev = at
		}
		if s.prev >= 0 {
			if c, ok := e.candidate(symbols, s.prev, at); ok {
				todo.push(c)
			}
		}
		if s.next >= 0 {
			if c, ok := e.candidate(symbols, at, s.next); ok {
				todo.push(c)
			}
		}
	}
	for i := int32(0); i >= 0; i = symbols[i].next {
		ids = append(ids, int(symbols[i].id))
	}
	return ids
}

// symbols are the characters of a text, and the bytes of those that have no
// token.
func (e *encoder) symbols(text string) []symbol {
	symbols := make([]symbol, 0, utf8.RuneCountInString(text))
	add := func(id int32) {
		n := int32(len(symbols))
		symbols = append(symbols, symbol{id, n - 1, n + 1})
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if id, ok := e.symbol(r); ok && (r != utf8.RuneError || size > 1) {
			add(id)
		} else {
			for _, b := range []byte(text[i : i+size]) {
				add(e.bytes[b])
			}
		}
		i += size
	}
	symbols[len(symbols)-1].next = -1
	return symbols
}

func (e *encoder) candidate(symbols []symbol, left, right int32) (candidate, bool) {
	made, rank, ok := e.merge(symbols[left].id, symbols[right].id)
	return candidate{uint64(rank)<<32 | uint64(left), made}, ok
}

// queue is a binary heap of candidates, the first in order on top.
type queue []candidate

// order makes a heap of candidates in any order.
func (q queue) order() {
	for i := len(q)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

func (q *queue) push(c candidate) {
	*q = append(*q, c)
	h := *q
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].order <= c.order {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = c
}

func (q *queue) pop() candidate {
	h := *q
	top, last := h[0], len(h)-1
	h[0] = h[last]
	*q = h[:last]
	if last > 1 {
		q.down(0)
	}
	return top
}

// down moves the candidate at i to its place among those below it.
func (q queue) down(i int) {
	c := q[i]
	for {
		child := 2*i + 1
		if child >= len(q) {
			break
		}
		if child+1 < len(q) && q[child+1].order < q[child].order {
			child++
		}
		if c.order <= q[child].order {
			break
		}
		q[i] = q[child]
		i = child
	}
	q[i] = c
}
