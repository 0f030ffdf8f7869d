package model

import (
	"math"
	"slices"
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

// cellsOf makes the cells of a prefix and a suffix.
func cellsOf(prefix, suffix int) []cell {
	s := Sequence{prompt: prefix}
	return s.cells(0, prefix+suffix)
}

func TestMask(t *testing.T) {
	for name, c := range map[string]struct {
		cells  []cell
		window int
		want   string
	}{
		"prefix only": {cellsOf(3, 0), 0, `
xxx
xxx
xxx
`},
		"prefix and suffix": {cellsOf(3, 3), 0, `
xxx...
xxx...
xxx...
xxxx..
xxxxx.
xxxxxx
`},
		"window of 3": {cellsOf(4, 3), 3, `
xxxx...
xxxx...
xxxx...
xxxx...
..xxx..
...xxx.
....xxx
`},
		"window of 1": {cellsOf(2, 2), 1, `
xx..
xx..
..x.
...x
`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := draw(c.cells, c.window); got != c.want[1:] {
				t.Errorf("%s:\n%swant:%s", name, got, c.want)
			}
		})
	}
}

// TestAllVisible compares the shortcuts with the mask.
func TestAllVisible(t *testing.T) {
	cells := cellsOf(3, 4)
	for from := range cells {
		for to := from + 1; to <= len(cells); to++ {
			for n := to; n <= len(cells); n++ {
				for window := range 8 {
					queries, keys := cells[from:to], cells[:n]
					want := !slices.ContainsFunc(attentionMask(queries, keys, window), func(v float32) bool { return v != 0 })
					if got := allVisible(queries, keys, window); got != want {
						t.Errorf("tokens %d to %d of %d, window %d: %v, want %v", from, to, n, window, got, want)
					}
				}
			}
		}
	}
}

// TestVisibleRange compares ranges of cells with what is visible, cell by cell.
func TestVisibleRange(t *testing.T) {
	for prompt := range 5 {
		var cells []cell
		for i := range 9 {
			cells = append(cells, cell{pos: int32(i + 1), prefix: i < prompt})
		}
		for window := range 11 {
			for i, q := range cells {
				r := visibleRange(q, prompt, window)
				for j, k := range cells {
					if got := j >= int(r.From) && j < int(r.To); got != visible(q, k, window) {
						t.Errorf("prompt %d, window %d: query %d sees key %d: %v", prompt, window, i, j, got)
					}
				}
			}
		}
	}
}

// TestSlides compares what two kinds of layers see of a text's tokens.
func TestSlides(t *testing.T) {
	for prompt := range 5 {
		for window := range 9 {
			for length := range 7 {
				for tokens := 1; tokens < 4; tokens++ {
					if length < prompt && length+tokens != prompt {
						continue // prompts are computed whole
					}
					p := &part{seq: &Sequence{prompt: prompt, length: length}, tokens: tokens}
					queries, _ := p.cells()
					all, near := visibleRanges(queries, prompt, 0), visibleRanges(queries, prompt, window)
					if got, want := slides([]*part{p}, window), !slices.Equal(all, near); got != want {
						t.Errorf("prompt %d, window %d, tokens %d after %d: %v", prompt, window, tokens, length, got)
					}
				}
			}
		}
	}
}
