package scene

import (
	"image"
	"strings"
)

// Counts are what F1 is made of. Add those of many pictures and take F1 at the
// end.
type Counts struct {
	Right   int `json:"right"`   // said and so
	Wrong   int `json:"wrong"`   // said and not so
	Missing int `json:"missing"` // so and not said
}

// Add adds other counts.
func (c *Counts) Add(o Counts) {
	c.Right += o.Right
	c.Wrong += o.Wrong
	c.Missing += o.Missing
}

// F1 is the harmonic mean of precision and recall; 1 where there was nothing to
// say and nothing was said.
func (c Counts) F1() float64 {
	if c.Right+c.Wrong+c.Missing == 0 {
		return 1
	}
	return 2 * float64(c.Right) / float64(2*c.Right+c.Wrong+c.Missing)
}

// ScoreCaption counts the facts of a caption, in either language: that there is
// such a shape, of such a color, of such a size, so related to another, and
// that there is a sign. Each is right as often as the scene has it. A relation
// that is true but not among those that the scene's own caption names is
// neither right nor wrong.
func ScoreCaption(s *Scene, text string) Counts {
	want := map[string]int{}
	for _, f := range s.Caption().facts() {
		want[f]++
	}
	also := map[string]bool{}
	for i := range s.Objects {
		for j := range s.Objects {
			a, b := &s.Objects[i], &s.Objects[j]
			if rel := s.relation(a, b); i != j && rel != "" {
				also[relationFact(Named{a.Color, a.Shape, a.Size}, rel, Named{b.Color, b.Shape, b.Size})] = true
			}
		}
	}
	var c Counts
	said, _ := ParseCaption(text)
	for _, f := range said.facts() {
		switch {
		case want[f] > 0:
			want[f]--
			c.Right++
		case !also[f]:
			c.Wrong++
		}
	}
	for _, n := range want {
		c.Missing += n
	}
	return c
}

// ScoreText reports whether the text is the answer, but for blanks around it and
// between words: questions and OCR.
func ScoreText(answer, text string) bool {
	return strings.Join(strings.Fields(answer), " ") == strings.Join(strings.Fields(text), " ")
}

// LabelBox is a box with its label: x0, y0, x1, y1 in pixels.
type LabelBox struct {
	Label string     `json:"label"`
	Box   [4]float64 `json:"box"`
}

// ScoreBoxes pairs boxes of the same label, those that agree best first. counts
// is at an intersection over union of 0.5; ious has, for each of want in its
// order, that of its partner, 0 if it has none: their mean over all pictures is
// the mean IoU.
func ScoreBoxes(want, got []LabelBox) (counts Counts, ious []float64) {
	ious = make([]float64, len(want))
	partner := make([]bool, len(want))
	used := make([]bool, len(got))
	for {
		best, bi, bj := 0.0, -1, -1
		for i, w := range want {
			for j, g := range got {
				if !partner[i] && !used[j] && w.Label == g.Label {
					if v := IoU(w.Box, g.Box); v > best {
						best, bi, bj = v, i, j
					}
				}
			}
		}
		if bi < 0 {
			break
		}
		partner[bi], used[bj], ious[bi] = true, true, best
		if best >= 0.5 {
			counts.Right++
		}
	}
	counts.Wrong = len(got) - counts.Right
	counts.Missing = len(want) - counts.Right
	return counts, ious
}

// IoU is the intersection over union of two boxes x0, y0, x1, y1; 0 if either is
// empty or inverted.
func IoU(a, b [4]float64) float64 {
	w := min(a[2], b[2]) - max(a[0], b[0])
	h := min(a[3], b[3]) - max(a[1], b[1])
	if !(w > 0 && h > 0) {
		return 0
	}
	return w * h / ((a[2]-a[0])*(a[3]-a[1]) + (b[2]-b[0])*(b[3]-b[1]) - w*h)
}

// ScoreMask is the intersection over union of an object's visible pixels and a
// mask of the whole picture, [H][W], everything but 0 being in it. It is 0 for a
// mask of another size.
func ScoreMask(o *Object, mask []byte, W, H int) float64 {
	if W <= 0 || H <= 0 || len(mask) != W*H {
		return 0
	}
	both, either := 0, 0
	for y := range H {
		for x := range W {
			a, b := o.Visible.At(x, y), mask[y*W+x] != 0
			if a && b {
				both++
			}
			if a || b {
				either++
			}
		}
	}
	if either == 0 {
		return 0
	}
	return float64(both) / float64(either)
}

// floats is a box of pixels as LabelBox has it.
func floats(r image.Rectangle) [4]float64 {
	return [4]float64{float64(r.Min.X), float64(r.Min.Y), float64(r.Max.X), float64(r.Max.Y)}
}
