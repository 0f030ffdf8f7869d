package model

import (
	"math"
	"strings"
	"testing"
)

// draw shows a mask as visible's documentation draws it.
func draw(cells []cell, window int) string {
	mask := attentionMask(cells, cells, window)
	var b strings.Builder
	for q := range cells {
		for k := range cells {
			switch v := mask[q*len(cells)+k]; {
			case v == 0:
				b.WriteByte('x')
			case math.IsInf(float64(v), -1):
				b.WriteByte('.')
			default:
				b.WriteByte('?')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// cellsOf makes prefix and suffix cells of one sequence.
func cellsOf(prefix, suffix int, seqs uint64) (cells []cell) {
	for i := range prefix + suffix {
		cells = append(cells, cell{pos: int32(i + 1), seqs: seqs, prefix: i < prefix})
	}
	return cells
}

func TestMask(t *testing.T) {
	two := append(cellsOf(2, 1, 0b01), cellsOf(1, 2, 0b10)...)
	shared := cellsOf(2, 0, 0b11) // one prompt, two suffixes of two tokens each
	for s := range uint64(2) {
		for i := range 2 {
			shared = append(shared, cell{pos: int32(3 + i), seqs: 1 << s})
		}
	}
	for name, c := range map[string]struct {
		cells  []cell
		window int
		want   string
	}{
		"prefix only": {cellsOf(3, 0, 1), 0, `
xxx
xxx
xxx
`},
		"prefix and suffix": {cellsOf(3, 3, 1), 0, `
xxx...
xxx...
xxx...
xxxx..
xxxxx.
xxxxxx
`},
		"window of 3": {cellsOf(4, 3, 1), 3, `
xxxx...
xxxx...
xxxx...
xxxx...
..xxx..
...xxx.
....xxx
`},
		"window of 1": {cellsOf(2, 2, 1), 1, `
xx..
xx..
..x.
...x
`},
		"two sequences": {two, 0, `
xx....
xx....
xxx...
...x..
...xx.
...xxx
`},
		"shared prompt": {shared, 0, `
xx....
xx....
xxx...
xxxx..
xx..x.
xx..xx
`},
	} {
		if got := draw(c.cells, c.window); got != c.want[1:] {
			t.Errorf("%s:\n%swant:%s", name, got, c.want)
		}
	}
}

func TestSelect(t *testing.T) {
	// Three beams over a prompt of one token, then one token each.
	c := Cache{cells: []cell{{seqs: 0b111}, {seqs: 0b001}, {seqs: 0b010}, {seqs: 0b100}}}
	c.Select([]int{2, 0, 2}) // beam 0 goes on from 2, beam 1 from 0, beam 2 from 2
	for i, want := range []uint64{0b111, 0b010, 0, 0b101} {
		if got := c.cells[i].seqs; got != want {
			t.Errorf("cell %d: %b, want %b", i, got, want)
		}
	}
	c.Truncate(2)
	if c.Len() != 2 {
		t.Errorf("%d cells", c.Len())
	}
}
