package scene

import (
	"math/rand/v2"
	"strconv"
)

// The kinds of questions.
const (
	KindColor      = "color"
	KindShape      = "shape"
	KindCount      = "count"
	KindPosition   = "position"
	KindYesNo      = "yesno"
	KindComparison = "comparison"
)

// Kinds are the kinds of questions.
var Kinds = []string{KindColor, KindShape, KindCount, KindPosition, KindYesNo, KindComparison}

// Positions are the answers to questions about places.
var Positions = []string{"top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"}

// ask makes a question of a kind and its answer. ok is false if the scene gives
// no clear one.
func ask(s *Scene, r *rand.Rand, kind string) (q, a string, ok bool) {
	for range 30 {
		switch kind {
		case KindColor:
			q, a, ok = askColor(s, r)
		case KindShape:
			q, a, ok = askShape(s, r)
		case KindCount:
			q, a, ok = askCount(s, r)
		case KindPosition:
			q, a, ok = askPosition(s, r)
		case KindYesNo:
			q, a, ok = askYesNo(s, r)
		case KindComparison:
			q, a, ok = askComparison(s, r)
		}
		if ok {
			return q, a, true
		}
	}
	return "", "", false
}

func askColor(s *Scene, r *rand.Rand) (q, a string, ok bool) {
	o := choice(r, s.Objects)
	if len(s.find(named{shape: o.Shape})) != 1 {
		return "", "", false
	}
	return "what " + choice(r, []string{"color", "colour"}) + " is the " + o.Shape + "?", o.Color, true
}

func askShape(s *Scene, r *rand.Rand) (q, a string, ok bool) {
	o := choice(r, s.Objects)
	if len(s.find(named{color: o.Color})) != 1 {
		return "", "", false
	}
	return "what shape is " + o.Color + "?", o.Shape, true
}

// Plural is the plural of a shape.
func Plural(shape string) string {
	if shape == "cross" {
		return "crosses"
	}
	return shape + "s"
}

func askCount(s *Scene, r *rand.Rand) (q, a string, ok bool) {
	o := choice(r, s.Objects)
	n := named{}
	switch r.IntN(6) {
	case 0, 1, 2:
		return "how many shapes are there?", strconv.Itoa(len(s.Objects)), true
	case 3:
		n.shape = o.Shape
	case 4:
		n.color = o.Color
	default:
		if r.IntN(2) == 0 {
			n.shape = choice(r, Shapes)
		} else {
			n.color = choice(r, Colors)
		}
	}
	what := n.color + " shapes"
	if n.color == "" {
		what = Plural(n.shape)
	}
	return "how many " + what + " are there?", strconv.Itoa(len(s.find(n))), true
}

// askPosition asks in which ninth of the picture an object's center is, unless
// it is near the border of two.
func askPosition(s *Scene, r *rand.Rand) (q, a string, ok bool) {
	name, o := s.single(r)
	if o == nil {
		return "", "", false
	}
	pos := s.position(o)
	return "where is the " + name.String() + "?", pos, pos != ""
}

// single picks an object that its name singles out; nil if this try failed.
func (s *Scene) single(r *rand.Rand) (named, *Object) {
	name := s.present(r)
	if found := s.find(name); len(found) == 1 {
		return name, &s.Objects[found[0]]
	}
	return name, nil
}

// position is the ninth of the picture in which the center of an object lies, ""
// if it is within 0.03 of a border between two.
func (s *Scene) position(o *Object) string {
	x, y := s.center(o)
	col, row := third(x), third(y)
	if col < 0 || row < 0 {
		return ""
	}
	return Positions[3*row+col]
}

// third is 0, 1 or 2, or −1 near a border.
func third(v float64) int {
	const margin = 0.03
	for i := range 3 {
		lo, hi := float64(i)/3, float64(i+1)/3
		if (i == 0 || v > lo+margin) && (i == 2 || v < hi-margin) {
			return i
		}
	}
	return -1
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// askYesNo asks whether something is there, or lies so; yes and no are equally
// likely.
func askYesNo(s *Scene, r *rand.Rand) (q, a string, ok bool) {
	yes := r.IntN(2) == 0
	switch x := r.Float64(); {
	case x < 0.5 || len(s.Objects) < 2:
		if x < 0.05 {
			return "is there a sign?", yesNo(s.Sign != nil), true
		}
		n := s.absent(r)
		if yes {
			n = s.present(r)
		}
		return "is there " + article(n) + " " + n.String() + "?", yesNo(yes), true
	case x < 0.6:
		name, o := s.single(r)
		if o == nil {
			return "", "", false
		}
		size := choice(r, Sizes)
		if yes {
			size = o.Size
		}
		return "is the " + name.String() + " " + size + "?", yesNo(size == o.Size), true
	}
	na, oa := s.single(r)
	nb, ob := s.single(r)
	if oa == nil || ob == nil || oa == ob {
		return "", "", false
	}
	rel := s.relation(oa, ob)
	if rel == "" {
		return "", "", false
	}
	said := rel
	if !yes {
		said = opposite(rel)
	}
	return "is the " + na.String() + " " + said + " the " + nb.String() + "?", yesNo(yes), true
}

func article(n named) string {
	if n.color == "orange" {
		return "an"
	}
	return "a"
}

func opposite(rel string) string {
	for i, v := range Relations {
		if v == rel {
			return Relations[i^1] // they stand in pairs
		}
	}
	return rel
}

// askComparison compares the sizes of two objects of which one is clearly
// larger, or how many there are of two shapes.
func askComparison(s *Scene, r *rand.Rand) (q, a string, ok bool) {
	if len(s.Objects) < 2 {
		return "", "", false
	}
	if r.IntN(12) == 0 { // the rest fails more often, and is tried again
		x, y := choice(r, s.Objects).Shape, choice(r, Shapes)
		if x == y {
			return "", "", false
		}
		if r.IntN(2) == 0 {
			x, y = y, x
		}
		more := len(s.find(named{shape: x})) > len(s.find(named{shape: y}))
		return "are there more " + Plural(x) + " than " + Plural(y) + "?", yesNo(more), true
	}
	na, oa := s.single(r)
	nb, ob := s.single(r)
	if oa == nil || ob == nil || oa == ob || oa.Size == ob.Size {
		return "", "", false
	}
	larger := oa.Scale > ob.Scale
	word := choice(r, []string{"larger", "smaller"})
	if r.IntN(3) == 0 {
		return "is the " + na.String() + " " + word + " than the " + nb.String() + "?", yesNo(larger == (word == "larger")), true
	}
	a = nb.String()
	if larger == (word == "larger") {
		a = na.String()
	}
	return "which is " + word + ", the " + na.String() + " or the " + nb.String() + "?", a, true
}
