package hub

import "slices"

// span is the bytes from one offset to before another.
type span struct{ from, to int64 }

// spans are parts of a file, in order, with gaps between them.
type spans []span

// add adds a span, and returns how many bytes of it are new.
func (s *spans) add(n span) (gained int64) {
	before := s.length()
	first, _ := slices.BinarySearchFunc(*s, n.from, func(a span, from int64) int {
		if a.to < from {
			return -1
		}
		return 1
	})
	last := first
	for last < len(*s) && (*s)[last].from <= n.to {
		n.from, n.to = min(n.from, (*s)[last].from), max(n.to, (*s)[last].to)
		last++
	}
	*s = slices.Replace(*s, first, last, n)
	return s.length() - before
}

// length returns the number of bytes.
func (s spans) length() (n int64) {
	for _, a := range s {
		n += a.to - a.from
	}
	return n
}

// missing returns what a file of a size lacks, in pieces of at most so many bytes.
func (s spans) missing(size, most int64) []span {
	var list []span
	cut := func(from, to int64) {
		for ; from < to; from += most {
			list = append(list, span{from, min(to, from+most)})
		}
	}
	at := int64(0)
	for _, a := range s {
		cut(at, a.from)
		at = a.to
	}
	cut(at, size)
	return list
}

// valid reports whether the spans are of a file of a size, in order and apart.
func (s spans) valid(size int64) bool {
	at := int64(-1)
	for _, a := range s {
		if a.from <= at || a.to <= a.from {
			return false
		}
		at = a.to
	}
	return at <= size
}
