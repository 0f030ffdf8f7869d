package pillow

import "paligemma/internal/parallel"

// columnPass resizes along columns, of rows that come one after the other.
type columnPass struct {
	all      []taps[int32] // in the order in which their rows are complete
	reversed bool          // the last row of the result is complete first
	n        int           // samples in a row
	rows     int           // rows of the source so far
	begun    []*partialRow
	next     int // the first of all that has not begun
	spare    []*partialRow
	line     []byte // a complete row
}

// partialRow is a row of the result that lacks some rows of the source.
type partialRow struct {
	taps[int32]
	place int
	sums  []int32
}

// columnStep bounds how many rows of the result begin at once, for much enlarged
// pictures.
const columnStep = 16

// add takes the next rows of the source and calls done for each row of the result
// that they complete, with its place. line is valid during the call.
func (a *columnPass) add(rows []byte, done func(place int, line []byte)) {
	first := a.rows
	a.rows += len(rows) / a.n
	if a.line == nil {
		a.line = make([]byte, a.n)
	}
	open := a.begun
	a.begun = nil
	for len(open) > 0 || a.next < len(a.all) && a.all[a.next].first < a.rows {
		for len(open) < columnStep && a.next < len(a.all) && a.all[a.next].first < a.rows {
			open = append(open, a.begin(a.next))
			a.next++
		}
		a.sum(open, rows, first)
		for _, row := range open {
			if row.end() > a.rows {
				a.begun = append(a.begun, row)
				continue
			}
			for i, v := range row.sums {
				a.line[i] = clip(v)
			}
			a.spare = append(a.spare, row)
			done(row.place, a.line)
		}
		open = nil
	}
}

// sum adds rows of the source, from row first on, to rows of the result.
func (a *columnPass) sum(open []*partialRow, rows []byte, first int) {
	work := 0
	for _, row := range open {
		work += max(0, min(row.end(), a.rows)-max(row.first, first))
	}
	parallel.Range(a.n, work, func(lo, hi int) {
		for _, row := range open {
			for y := max(row.first, first); y < min(row.end(), a.rows); y++ {
				addWeighted(row.sums[lo:hi], rows[a.n*(y-first):][lo:hi], row.weights[y-row.first])
			}
		}
	})
}

// begin returns the i-th row of the result, with empty sums.
func (a *columnPass) begin(i int) *partialRow {
	row := &partialRow{}
	if n := len(a.spare); n > 0 {
		row, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		row.sums = make([]int32, a.n)
	}
	row.taps, row.place = a.all[i], i
	if a.reversed {
		row.place = len(a.all) - 1 - i
	}
	for i := range row.sums {
		row.sums[i] = half
	}
	return row
}

// addWeighted adds k times the samples of a row.
func addWeighted(sums []int32, row []byte, k int32) {
	row = row[:len(sums)]
	for i, v := range row {
		sums[i] += k * int32(v)
	}
}
