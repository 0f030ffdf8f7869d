package scene

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"paligemma/internal/task"
)

func TestCaptionsRoundTrip(t *testing.T) {
	for _, s := range scenes(t) {
		want := s.Caption()
		for _, lang := range Langs {
			text := want.Text(lang)
			got, ok := ParseCaption(text)
			if !ok || got.Sign != want.Sign || !slices.Equal(got.Objects, want.Objects) || !slices.Equal(got.Relations, want.Relations) {
				t.Errorf("seed %d: %q is read as %+v, %v", s.Seed, text, got, ok)
			}
			if c := ScoreCaption(s, text); c.Wrong != 0 || c.Missing != 0 || c.Right != len(want.facts()) {
				t.Errorf("seed %d: %q scores %+v", s.Seed, text, c)
			}
		}
	}
}

func TestSamplesOfScenes(t *testing.T) {
	vocabulary := map[string]bool{}
	for _, w := range Vocabulary() {
		vocabulary[w] = true
	}
	answers := map[string]map[string]int{}
	for _, s := range scenes(t) {
		for _, p := range Samples(s, Rand(s.Seed)) {
			key := p.Task + p.Kind
			if answers[key] == nil {
				answers[key] = map[string]int{}
			}
			answers[key][p.Answer]++
			for _, w := range splitWords(p.Prompt + " " + p.Answer) {
				if !vocabulary[w] && !strings.HasPrefix(w, "<") && !strings.Contains("?,;", w) {
					t.Errorf("seed %d: %q in %q is not in the vocabulary", s.Seed, w, p.Prompt+" "+p.Answer)
				}
			}
			switch p.Task {
			case TaskVQA:
				checkQuestion(t, s, p)
			case TaskDetect, TaskSegment:
				checkBoxes(t, s, p)
			case TaskOCR:
				want := ""
				if s.Sign != nil {
					want = strings.Join(s.Sign.Words, " ")
				}
				if p.Answer != want {
					t.Errorf("seed %d: ocr %q, want %q", s.Seed, p.Answer, want)
				}
			}
		}
	}
	for _, key := range []string{TaskCaption, TaskDetect, TaskSegment, TaskOCR, TaskVQA + KindColor, TaskVQA + KindShape,
		TaskVQA + KindCount, TaskVQA + KindPosition, TaskVQA + KindYesNo, TaskVQA + KindComparison} {
		if len(answers[key]) < 2 {
			t.Errorf("%s: answers %v", key, answers[key])
		}
	}
	if a := answers[TaskVQA+KindYesNo]; !testing.Short() && (a["yes"] < 2*a["no"]/3 || a["no"] < 2*a["yes"]/3) {
		t.Errorf("yes/no questions: %v", a)
	}
}

// lookup finds the objects that "the red circle" or "circle" or "red" names, by
// reading the facts only.
func lookup(s *Scene, name string) []Object {
	var out []Object
	for _, o := range s.Objects {
		if ok := func() bool {
			for _, w := range strings.Fields(name) {
				if w != o.Color && w != o.Shape {
					return false
				}
			}
			return true
		}(); ok {
			out = append(out, o)
		}
	}
	return out
}

func number(o []Object) string { return strconv.Itoa(len(o)) }

// checkQuestion answers a question anew from the boxes and names of the scene.
func checkQuestion(t *testing.T, s *Scene, p Sample) {
	t.Helper()
	q := strings.TrimSuffix(p.Prompt, "?")
	cut := func(prefix string) (string, bool) { return strings.CutPrefix(q, prefix) }
	want := "no rule for this question"
	one := func(name string) Object {
		o := lookup(s, name)
		if len(o) != 1 {
			t.Errorf("seed %d: %q: %d are called %q", s.Seed, p.Prompt, len(o), name)
			return Object{}
		}
		return o[0]
	}
	area := func(o Object) int { return o.Full.Rect.Dx() * o.Full.Rect.Dy() }
	if rest, ok := cut("what color is the "); ok {
		want = one(rest).Color
	} else if rest, ok := cut("what colour is the "); ok {
		want = one(rest).Color
	} else if rest, ok := cut("what shape is "); ok {
		want = one(rest).Shape
	} else if q == "how many shapes are there" {
		want = number(s.Objects)
	} else if rest, ok := cut("how many "); ok {
		name := strings.TrimSuffix(rest, " are there")
		if color, ok := strings.CutSuffix(name, " shapes"); ok {
			name = color
		} else {
			name = strings.Replace(strings.TrimSuffix(name, "s"), "crosse", "cross", 1)
		}
		want = number(lookup(s, name))
	} else if rest, ok := cut("where is the "); ok {
		o := one(rest)
		x := (o.Box[0] + o.Box[2]) * 3 / (2 * s.W)
		y := (o.Box[1] + o.Box[3]) * 3 / (2 * s.H)
		want = Positions[3*y+x]
	} else if q == "is there a sign" {
		want = yesNo(s.Sign != nil)
	} else if rest, ok := cut("is there a "); ok {
		want = yesNo(len(lookup(s, rest)) > 0)
	} else if rest, ok := cut("is there an "); ok {
		want = yesNo(len(lookup(s, rest)) > 0)
	} else if rest, ok := cut("are there more "); ok {
		a, b, _ := strings.Cut(strings.ReplaceAll(rest, "crosses", "crosss"), " than ")
		want = yesNo(len(lookup(s, strings.TrimSuffix(a, "s"))) > len(lookup(s, strings.TrimSuffix(b, "s"))))
	} else if rest, ok := cut("which is larger, the "); ok {
		a, b, _ := strings.Cut(rest, " or the ")
		want = b
		if area(one(a)) > area(one(b)) {
			want = a
		}
	} else if rest, ok := cut("which is smaller, the "); ok {
		a, b, _ := strings.Cut(rest, " or the ")
		want = a
		if area(one(a)) > area(one(b)) {
			want = b
		}
	} else if rest, ok := cut("is the "); ok {
		want = whether(s, rest, one, area)
	}
	if p.Answer != want {
		t.Errorf("seed %d: %q is answered %q, want %q", s.Seed, p.Prompt, p.Answer, want)
	}
}

// whether answers what follows "is the".
func whether(s *Scene, rest string, one func(string) Object, area func(Object) int) string {
	for words, holds := range map[string]func(a, b Object) bool{
		" left of the ":      func(a, b Object) bool { return a.Box[0]+a.Box[2] < b.Box[0]+b.Box[2] },
		" right of the ":     func(a, b Object) bool { return a.Box[0]+a.Box[2] > b.Box[0]+b.Box[2] },
		" above the ":        func(a, b Object) bool { return a.Box[1]+a.Box[3] < b.Box[1]+b.Box[3] },
		" below the ":        func(a, b Object) bool { return a.Box[1]+a.Box[3] > b.Box[1]+b.Box[3] },
		" larger than the ":  func(a, b Object) bool { return area(a) > area(b) },
		" smaller than the ": func(a, b Object) bool { return area(a) < area(b) },
	} {
		if a, b, ok := strings.Cut(rest, words); ok {
			return yesNo(holds(one(a), one(b)))
		}
	}
	for _, size := range Sizes {
		if name, ok := strings.CutSuffix(rest, " "+size); ok {
			return yesNo(one(name).Size == size)
		}
	}
	return "no rule for this question"
}

// checkBoxes reads an answer as the command line does and compares it with the
// objects of the names that the prompt asks for, from left to right.
func checkBoxes(t *testing.T, s *Scene, p Sample) {
	t.Helper()
	_, names, _ := strings.Cut(p.Prompt, " ")
	var want []LabelBox
	for _, name := range strings.Split(names, " ; ") {
		if name == "sign" {
			if s.Sign != nil {
				want = append(want, LabelBox{name, floats(rect(s.Sign.Box))})
			}
			continue
		}
		for _, o := range lookup(s, name) {
			want = append(want, LabelBox{name, floats(rect(o.Box))})
		}
	}
	place := func(b LabelBox) float64 {
		if b.Label == sign {
			return 2 * float64(s.W)
		}
		return b.Box[0] + b.Box[2]
	}
	slices.SortFunc(want, func(a, b LabelBox) int { return cmp.Compare(place(a), place(b)) })
	if !slices.Equal(want, p.Boxes) {
		t.Errorf("seed %d: %q: boxes %v, want %v", s.Seed, p.Prompt, p.Boxes, want)
	}
	text := p.Answer
	if p.Task == TaskSegment {
		text = strings.Replace(text, Codes, strings.Repeat("<seg007>", 16), 1)
		if len(want) > 1 || (len(want) == 1) != (p.Object >= 0) || (p.Object >= 0 && floats(rect(s.Objects[p.Object].Box)) != want[0].Box) {
			t.Errorf("seed %d: %q is about %d, boxes %v", s.Seed, p.Prompt, p.Object, want)
		}
	}
	res := task.Parse(text, s.W, s.H)
	var got []LabelBox
	for _, o := range res.Objects {
		got = append(got, LabelBox{o.Label, o.Box})
		if (o.Codes != nil) != (p.Task == TaskSegment) {
			t.Errorf("seed %d: %q: codes %v", s.Seed, text, o.Codes)
		}
	}
	c, ious := ScoreBoxes(want, got)
	if len(res.Doubts) > 0 || c.Right != len(want) || c.Wrong+c.Missing != 0 {
		t.Errorf("seed %d: %q is read as %v, %v", s.Seed, text, got, res.Doubts)
	}
	for _, v := range ious {
		if v < 0.9 { // a token is a 1023rd of the side
			t.Errorf("seed %d: %q: IoU %.3f", s.Seed, text, v)
		}
	}
}
