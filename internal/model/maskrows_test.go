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

// TestCellsInUse has cells of forks below those that they share, and above them.
func TestCellsInUse(t *testing.T) {
	of := func(own, shared, inherited, length, tokens int) *part {
		s := &Sequence{own: &span{first: own}, inherited: inherited, length: length}
		if inherited > 0 {
			s.shared = &span{first: shared}
		}
		return &part{seq: s, tokens: tokens}
	}
	for name, c := range map[string]struct {
		parts []*part
		want  int
	}{
		"up to a unit":     {[]*part{of(32, 0, 0, 200, 24)}, 256},
		"one more":         {[]*part{of(32, 0, 0, 200, 25)}, 512},
		"shared cells":     {[]*part{of(0, 256, 256, 300, 1)}, 512},
		"one more shared":  {[]*part{of(0, 256, 257, 300, 1)}, 768},
		"cells after them": {[]*part{of(256, 0, 50, 300, 6)}, 512},
		"several":          {[]*part{of(0, 0, 0, 1, 1), of(600, 0, 0, 1, 1), of(300, 0, 0, 1, 1)}, 768},
	} {
		if got := cellsInUse(c.parts); got != c.want {
			t.Errorf("%s: %d cells, want %d", name, got, c.want)
		}
	}
}

// TestImagesOfDevices counts the images that devices encode at a time, and that they keep.
func TestImagesOfDevices(t *testing.T) {
	for name, want := range map[string][2]int{
		"3b-224": {8, 16}, "3b-448": {4, 8}, "3b-896": {1, 2}, "pg2-10b-448": {4, 4}, "pg2-10b-896": {1, 2},
	} {
		c, _ := Release(name)
		if got := [2]int{c.imagesPerPass(), c.keptImages()}; got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
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
