package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestMaskRows takes the rows of a mask through steps of sequences that come, fork, grow and
// go, whose cells others are given: after each step they are what visible says, cell by cell.
func TestMaskRows(t *testing.T) {
	for _, window := range []int{0, 1, 3, 40} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("window %d, seed %d", window, seed), func(t *testing.T) {
				r := newRowsTest(window, seed)
				for i := range 300 {
					r.change(t)
					parts := r.step()
					r.rows.show(parts)
					if err := r.compare(parts); err != nil {
						t.Fatalf("step %d: %v", i, err)
					}
					batch{parts: parts}.commit()
				}
			})
		}
	}
}

// TestMaskRow takes the one row of a prompt from one to another.
func TestMaskRow(t *testing.T) {
	r := newRowsTest(3, 1)
	r.rows = newMaskRows(1, int64(r.slab().cells), 3)
	for _, n := range []int{5, 40, 7} {
		s := &Sequence{cache: r.cache, own: r.slab().reserve(n), prompt: n}
		parts := []*part{{seq: s, tokens: n}}
		r.rows.show(parts)
		if err := r.compare(parts); err != nil {
			t.Fatalf("a prompt of %d: %v", n, err)
		}
	}
}

// rowsTest is the rows of a mask, and a slab of few cells without memory.
type rowsTest struct {
	*rand.Rand
	cache *Cache
	all   []*Sequence
	rows  maskRows
}

func newRowsTest(window int, seed uint64) *rowsTest {
	const rows, cells = 9, 512
	return &rowsTest{
		Rand:  rand.New(rand.NewPCG(seed, 3)),
		cache: &Cache{model: &Model{}, slabs: []*slab{{cells: cells}}},
		rows:  newMaskRows(rows, cells, window),
	}
}

func (r *rowsTest) slab() *slab { return r.cache.slabs[0] }

// change has sequences begin, fork and go.
func (r *rowsTest) change(t *testing.T) {
	if n := len(r.all); n > 0 && r.IntN(4) == 0 {
		r.drop(r.IntN(n))
	}
	for n := len(r.all); n > 0 && r.IntN(3) == 0; n = 0 {
		s := r.all[r.IntN(n)]
		if s.length == 0 || s.shared != nil && s.length > s.inherited {
			continue // its cells would be copied
		}
		fork, err := s.Fork(t.Context(), 1+r.IntN(40))
		if err != nil {
			t.Fatal(err)
		}
		r.all = append(r.all, fork)
	}
}

// drop releases a sequence.
func (r *rowsTest) drop(i int) {
	r.all[i].Release()
	r.all = slices.Delete(r.all, i, i+1)
}

// step makes the parts of a step with a token for each row: of some of the sequences, and
// prompts of new ones.
func (r *rowsTest) step() (parts []*part) {
	left := len(r.rows.seen)
	add := func(s *Sequence, tokens int) {
		parts = append(parts, &part{seq: s, tokens: tokens, from: len(r.rows.seen) - left})
		left -= tokens
	}
	for _, s := range slices.Clone(r.all) {
		tokens := 1 + max(0, r.IntN(5)-2)
		if left >= tokens && r.IntN(4) > 0 && r.extend(s, tokens) {
			add(s, tokens)
		}
	}
	for left > 0 {
		s := &Sequence{cache: r.cache, room: 1 + r.IntN(60), prompt: 1 + r.IntN(left)}
		if r.extend(s, s.prompt) {
			r.all = append(r.all, s)
			add(s, s.prompt)
			continue
		}
		idle := slices.IndexFunc(r.all, func(s *Sequence) bool {
			return !slices.ContainsFunc(parts, func(p *part) bool { return p.seq == s })
		})
		if idle < 0 { // all cells are used by this step: another one
			for len(r.all) > 0 {
				r.drop(0)
			}
			return r.step()
		}
		r.drop(idle)
	}
	return parts
}

// extend makes room for n more tokens, or reports that there is none in place.
func (r *rowsTest) extend(s *Sequence, n int) bool {
	if s.own == nil {
		s.own = r.slab().reserve(max(n, s.room))
	}
	return s.own != nil && s.length-s.inherited+n <= s.own.cells
}

// compare reports the first cell that is not as it is visible.
func (r *rowsTest) compare(parts []*part) error {
	n := r.slab().cells
	for _, p := range parts {
		queries, cells := p.cells()
		for i, q := range queries[:min(len(queries), len(r.rows.seen)-p.from)] {
			want := slices.Repeat([]uint16{hiddenCell}, n)
			for j, k := range cells {
				at := p.seq.own.first + j - p.seq.inherited
				if j < p.seq.inherited {
					at = p.seq.shared.first + j
				}
				if visible(q, k, r.rows.window) {
					want[at] = shownCell
				}
			}
			row := r.rows.values[(p.from+i)*n:][:n]
			for at := range row {
				if row[at] != want[at] {
					return fmt.Errorf("row %d, cell %d: %#x, want %#x", p.from+i, at, row[at], want[at])
				}
			}
		}
	}
	return nil
}
