package draw

import (
	"image"
	"iter"
)

const (
	maxPlaced = 300 // labels that look for a free place; more have none
	maxRings  = 8   // half heights of a label from its box, looked at for a free place
	maxAlong  = 16  // places along a side of a ring
)

// place gives the plates of boxes their places, in the given order, inside bounds. It
// returns them in that order, and how many are mostly hidden by others.
func place(bounds image.Rectangle, boxes []image.Rectangle, order []int, next func(i int) (plate, bool)) ([]plate, int) {
	var plates []plate
	for _, i := range order {
		p, ok := next(i)
		if !ok {
			continue
		}
		p.rect = p.rect.Add(choose(bounds, boxes, i, p.rect.Size(), plates))
		plates = append(plates, p)
	}
	hidden := 0
	for i, p := range plates[:min(len(plates), maxPlaced)] {
		covered := 0
		for _, q := range plates[i+1:] {
			covered += area(p.rect.Intersect(q.rect))
		}
		if 2*covered > area(p.rect) {
			hidden++
		}
	}
	return plates, hidden
}

// choose returns where the top left corner of a label of a size goes: the first place
// at its box, then near it, that no label has and that hides no small box; else the
// place that hides least.
func choose(bounds image.Rectangle, boxes []image.Rectangle, of int, size image.Point, placed []plate) image.Point {
	var best image.Point
	least := -1
	for at := range candidates(bounds, boxes[of], size, len(placed) < maxPlaced) {
		r := image.Rectangle{at, at.Add(size)}
		cost := 0
		if len(placed) < maxPlaced {
			cost = hides(r, boxes, of, placed)
		}
		if least < 0 || cost < least {
			best, least = at, cost
		}
		if least == 0 {
			break
		}
	}
	return best
}

// hides returns what a label at r would hide of other labels and of small boxes,
// weighted: a label that is wholly hidden is the worst.
func hides(r image.Rectangle, boxes []image.Rectangle, of int, placed []plate) int {
	cost := 0
	for _, p := range placed {
		if both := area(r.Intersect(p.rect)); both > 0 {
			cost += 4*both + 8*both*both/area(p.rect)
		}
	}
	if len(boxes) > maxPlaced {
		return cost
	}
	for i, b := range boxes {
		if i != of && area(b) < 2*area(r) {
			cost += area(r.Intersect(b))
		}
	}
	return cost
}

// candidates yields places for a label of a size, the preferred first: above its box,
// inside at the top, below, inside at the bottom, right and left of it; then, if
// further, in rings around the box. All lie in bounds, as far as the label fits.
func candidates(bounds, box image.Rectangle, size image.Point, further bool) iter.Seq[image.Point] {
	limit := image.Rectangle{bounds.Min, bounds.Max.Sub(size)}
	limit.Max.X, limit.Max.Y = max(limit.Min.X, limit.Max.X), max(limit.Min.Y, limit.Max.Y)
	inside := func(x, y int) image.Point {
		return image.Pt(min(max(x, limit.Min.X), limit.Max.X), min(max(y, limit.Min.Y), limit.Max.Y))
	}
	return func(yield func(image.Point) bool) {
		if !atBox(box, size, inside, yield) {
			return
		}
		for ring := 1; further && ring <= maxRings; ring++ {
			if !around(box.Inset(-ring*max(size.Y/2, 1)), size, inside, yield) {
				return
			}
		}
		yield(inside(box.Min.X, box.Min.Y)) // if nothing else, in a corner
	}
}

// atBox yields the places at a box, and returns false when no more are wanted. Those
// above and below are moved sideways into the picture, those at its sides up and down;
// a place that would have to move otherwise is left out.
func atBox(box image.Rectangle, size image.Point, inside func(x, y int) image.Point, yield func(image.Point) bool) bool {
	for _, x := range [...]int{box.Min.X, box.Max.X - size.X} {
		for _, y := range [...]int{box.Min.Y - size.Y, box.Min.Y, box.Max.Y, box.Max.Y - size.Y} {
			if at := inside(x, y); at.Y == y && !yield(at) {
				return false
			}
		}
	}
	for _, y := range [...]int{box.Min.Y, box.Max.Y - size.Y} {
		for _, x := range [...]int{box.Max.X, box.Min.X - size.X} {
			if at := inside(x, y); at.X == x && !yield(at) {
				return false
			}
		}
	}
	return true
}

// around yields places along the sides of a ring, as atBox does.
func around(ring image.Rectangle, size image.Point, inside func(x, y int) image.Point, yield func(image.Point) bool) bool {
	step := max(size.X/2, ring.Dx()/maxAlong, 1)
	for x := ring.Min.X - size.X + step; x < ring.Max.X; x += step {
		for _, y := range [...]int{ring.Min.Y - size.Y, ring.Max.Y} {
			if at := inside(x, y); at.Y == y && !yield(at) {
				return false
			}
		}
	}
	step = max(size.Y, ring.Dy()/maxAlong, 1)
	for y := ring.Min.Y; y <= ring.Max.Y-size.Y; y += step {
		for _, x := range [...]int{ring.Min.X - size.X, ring.Max.X} {
			if at := inside(x, y); at.X == x && !yield(at) {
				return false
			}
		}
	}
	return true
}
