package mask

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// picture makes a mask of a drawing: '#' is set.
func picture(rows ...string) (mask []byte, w, h int) {
	for _, row := range rows {
		for _, c := range row {
			v := byte(0)
			if c == '#' {
				v = 1
			}
			mask = append(mask, v)
		}
	}
	return mask, len(rows[0]), len(rows)
}

func TestPolygons(t *testing.T) {
	for _, c := range []struct {
		name string
		rows []string
		want [][]float64
	}{
		{"nothing", []string{"...", "..."}, nil},
		{"a pixel", []string{"...", ".#."}, [][]float64{{1, 1, 2, 1, 2, 2, 1, 2}}},
		{"an L", []string{
			"#..",
			"##."}, [][]float64{{0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 0, 2}}},
		{"two that touch at a corner", []string{
			"#.",
			".#"}, [][]float64{{0, 0, 1, 0, 1, 1, 0, 1}, {1, 1, 2, 1, 2, 2, 1, 2}}},
		{"and at the other", []string{
			".#",
			"#."}, [][]float64{{1, 0, 2, 0, 2, 1, 1, 1}, {0, 1, 1, 1, 1, 2, 0, 2}}},
		{"a ring with an island", []string{
			"#####",
			"#...#",
			"#.#.#",
			"#...#",
			"#####"}, [][]float64{{0, 0, 5, 0, 5, 5, 0, 5}}},
		{"a U around a pixel", []string{
			"#.#.#",
			"#...#",
			"#####"}, [][]float64{{0, 0, 1, 0, 1, 2, 4, 2, 4, 0, 5, 0, 5, 3, 0, 3}, {2, 0, 3, 0, 3, 1, 2, 1}}},
		{"a pinched ring: its hole opens at a corner", []string{
			"###.",
			"#.#.",
			"##.#"}, [][]float64{{0, 0, 3, 0, 3, 2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2, 3, 0, 3}, {3, 2, 4, 2, 4, 3, 3, 3}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mask, w, h := picture(c.rows...)
			got, err := Polygons(mask, w, h)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
		})
	}
	for _, c := range [][3]int{{3, 2, 2}, {0, -1, 1}, {0, 1 << 40, 1 << 40}} {
		if got, err := Polygons(make([]byte, c[0]), c[1], c[2]); err == nil {
			t.Errorf("Polygons of %v = %v, want an error", c, got)
		}
	}
}

func TestPolygonArea(t *testing.T) {
	for _, c := range []struct {
		polygons [][]float64
		want     float64
	}{
		{nil, 0},
		{[][]float64{{0, 0, 4, 0, 0, 3}}, 6},
		{[][]float64{{0, 0, 0, 3, 4, 0}, {10, 10, 11, 10, 11, 11, 10, 11}}, 7},
	} {
		if got := PolygonArea(c.polygons); got != c.want {
			t.Errorf("PolygonArea(%v) = %v, want %v", c.polygons, got, c.want)
		}
	}
}

// fill returns mask with what the outside cannot reach, going to any of the
// eight neighbors, filled in.
func fill(mask []byte, w, h int) []byte {
	filled := bytes.Repeat([]byte{1}, w*h)
	type point struct{ x, y int }
	seen := map[point]bool{}
	stack := []point{{-1, -1}}
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if p.x < -1 || p.y < -1 || p.x > w || p.y > h || seen[p] {
			continue
		}
		seen[p] = true
		if p.x >= 0 && p.y >= 0 && p.x < w && p.y < h {
			if mask[p.y*w+p.x] != 0 {
				continue
			}
			filled[p.y*w+p.x] = 0
		}
		for i := range 9 {
			stack = append(stack, point{p.x + i%3 - 1, p.y + i/3 - 1})
		}
	}
	return filled
}

// paint fills polygons, even-odd, pixel centers deciding.
func paint(polygons [][]float64, w, h int) []byte {
	mask := make([]byte, w*h)
	for _, p := range polygons {
		for i := 0; i < len(p); i += 2 {
			j := (i + 2) % len(p)
			if p[i] != p[j] {
				continue // not upright
			}
			for y := int(min(p[i+1], p[j+1])); y < int(max(p[i+1], p[j+1])); y++ {
				for x := int(p[i]); x < w; x++ {
					mask[y*w+x] ^= 1
				}
			}
		}
	}
	return mask
}

// TestPolygonsFillTheMask: the outlines enclose the mask and its holes, and
// nothing else, and their area says so.
func TestPolygonsFillTheMask(t *testing.T) {
	check := func(name string, mask []byte, w, h int) {
		t.Helper()
		polygons, err := Polygons(mask, w, h)
		if err != nil {
			t.Fatal(err)
		}
		want := fill(mask, w, h)
		if !bytes.Equal(paint(polygons, w, h), want) {
			t.Errorf("%s: the polygons do not enclose the mask", name)
		}
		if area := PolygonArea(polygons); area != float64(bytes.Count(want, []byte{1})) {
			t.Errorf("%s: area %v, want %d", name, area, bytes.Count(want, []byte{1}))
		}
	}
	for _, g := range readRLEGoldens(t) {
		check(g.Name, g.mask(t), g.Width, g.Height)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		w, h := 1+r.IntN(12), 1+r.IntN(12)
		mask := make([]byte, w*h)
		for j := range mask {
			if r.Float64() < 0.1+0.8*float64(i)/500 {
				mask[j] = 1
			}
		}
		check(fmt.Sprint("random ", i), mask, w, h)
	}
}
