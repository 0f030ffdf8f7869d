package scene

import (
	"math"
	"slices"
	"testing"

	"paligemma/internal/preprocess"
)

// sample is a scene without a picture: a red circle, right of it a blue square,
// below that a small red star.
func sample(signed bool) *Scene {
	s := &Scene{W: 100, H: 200, Picture: &preprocess.RGB{}, Objects: []Object{
		{Color: "red", Shape: "circle", Size: "large", Box: [4]int{0, 0, 40, 80}},
		{Color: "blue", Shape: "square", Size: "medium", Box: [4]int{60, 20, 80, 60}},
		{Color: "red", Shape: "star", Size: "small", Box: [4]int{70, 180, 80, 196}},
	}}
	if signed {
		s.Sign = &Sign{Words: []string{"tea"}}
	}
	return s
}

func TestCaptionText(t *testing.T) {
	c := sample(true).Caption()
	for lang, want := range map[string]string{
		"en": "a large red circle left of a medium blue square above a small red star and a sign",
		"es": "un círculo rojo grande a la izquierda de un cuadrado azul mediano encima de una estrella roja pequeña y un letrero",
	} {
		if got := c.Text(lang); got != want {
			t.Errorf("%s: %q, want %q", lang, got, want)
		}
	}
}

func TestParseCaptionLeniently(t *testing.T) {
	for _, c := range []struct {
		text string
		want Caption
		ok   bool
	}{
		{"", Caption{}, false},
		{"left of", Caption{}, false},
		{"a sign", Caption{Sign: true}, false},
		{"a large red circle", Caption{Objects: []Named{{"red", "circle", "large"}}}, true},
		{"a red circle", Caption{Objects: []Named{{"red", "circle", ""}}}, false},
		{"una cruz blanca pequeña", Caption{Objects: []Named{{"white", "cross", "small"}}}, true},
		{"a small red circle left of", Caption{Objects: []Named{{"red", "circle", "small"}}}, false},
		{"left of a small red circle", Caption{Objects: []Named{{"red", "circle", "small"}}}, false},
		{"a red circle and a blue star", Caption{Objects: []Named{{"red", "circle", ""}, {"blue", "star", ""}}, Relations: []string{""}}, false},
		{"circle star", Caption{Objects: []Named{{"", "circle", ""}, {"", "star", ""}}, Relations: []string{""}}, false},
		{"a green dog below a ring", Caption{Objects: []Named{{"", "ring", ""}}}, false},
		{"a red circle below una estrella azul", Caption{Objects: []Named{{"red", "circle", ""}, {"blue", "star", ""}}, Relations: []string{"below"}}, false},
	} {
		got, ok := ParseCaption(c.text)
		if ok != c.ok || got.Sign != c.want.Sign || !slices.Equal(got.Objects, c.want.Objects) || !slices.Equal(got.Relations, c.want.Relations) {
			t.Errorf("%q is read as %+v, %v, want %+v, %v", c.text, got, ok, c.want, c.ok)
		}
	}
}

func TestScoreCaption(t *testing.T) {
	for _, c := range []struct {
		text string
		sign bool
		want Counts
	}{
		{"a large red circle left of a medium blue square above a small red star", false, Counts{11, 0, 0}},
		{"a large red circle left of a medium blue square above a small red star", true, Counts{11, 0, 1}},
		{"a large red circle left of a medium blue square above a small red star and a sign", false, Counts{11, 1, 0}},
		// Other words for the same: all right.
		{"a small red star below a medium blue square right of a large red circle", false, Counts{11, 0, 0}},
		// One size is wrong.
		{"a small red circle left of a medium blue square above a small red star", false, Counts{10, 1, 1}},
		// One color is wrong, and with it size and relation.
		{"a large green circle left of a medium blue square above a small red star", false, Counts{8, 3, 3}},
		// A true relation that the scene's caption does not name.
		{"a large red circle above a small red star", false, Counts{6, 0, 5}},
		{"a large red circle below a small red star", false, Counts{6, 1, 5}},
		{"circle circle", false, Counts{1, 1, 10}},
		{"", false, Counts{0, 0, 11}},
	} {
		if got := ScoreCaption(sample(c.sign), c.text); got != c.want {
			t.Errorf("%q scores %+v, want %+v", c.text, got, c.want)
		}
	}
}

func TestF1(t *testing.T) {
	for _, c := range []struct {
		counts Counts
		want   float64
	}{{Counts{}, 1}, {Counts{0, 1, 0}, 0}, {Counts{3, 1, 1}, 0.75}, {Counts{2, 0, 2}, 2.0 / 3}} {
		if got := c.counts.F1(); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%+v: %g, want %g", c.counts, got, c.want)
		}
	}
	a := Counts{1, 2, 3}
	a.Add(Counts{10, 20, 30})
	if a != (Counts{11, 22, 33}) {
		t.Errorf("sum %+v", a)
	}
}

func TestScoreText(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"red", "red", true}, {"red", " red\n", true}, {"open door", "open\ndoor", true}, {"red", "Red", false}, {"open door", "opendoor", false}, {"", "", true}, {"", "x", false}} {
		if got := ScoreText(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %v", c.a, c.b, got)
		}
	}
}

func TestScoreBoxes(t *testing.T) {
	a := LabelBox{"a", [4]float64{0, 0, 10, 10}}
	shifted := LabelBox{"a", [4]float64{0, 5, 10, 15}} // IoU 1/3 with a
	near := LabelBox{"a", [4]float64{0, 2, 10, 12}}    // 2/3 with a, 7/13 with shifted
	b := LabelBox{"b", [4]float64{0, 0, 10, 10}}
	for _, c := range []struct {
		name      string
		want, got []LabelBox
		counts    Counts
		ious      []float64
	}{
		{"nothing", nil, nil, Counts{}, []float64{}},
		{"exact", []LabelBox{a, b}, []LabelBox{b, a}, Counts{2, 0, 0}, []float64{1, 1}},
		{"other label", []LabelBox{a}, []LabelBox{b}, Counts{0, 1, 1}, []float64{0}},
		{"too far", []LabelBox{a}, []LabelBox{shifted}, Counts{0, 1, 1}, []float64{1.0 / 3}},
		{"twice", []LabelBox{a}, []LabelBox{a, a}, Counts{1, 1, 0}, []float64{1}},
		{"best first", []LabelBox{shifted, a}, []LabelBox{near}, Counts{1, 0, 1}, []float64{0, 2.0 / 3}},
		{"inverted", []LabelBox{a}, []LabelBox{{"a", [4]float64{10, 10, 0, 0}}}, Counts{0, 1, 1}, []float64{0}},
		{"not a number", []LabelBox{a}, []LabelBox{{"a", [4]float64{math.NaN(), 0, 10, 10}}}, Counts{0, 1, 1}, []float64{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			counts, ious := ScoreBoxes(c.want, c.got)
			same := slices.EqualFunc(ious, c.ious, func(x, y float64) bool { return math.Abs(x-y) < 1e-12 })
			if counts != c.counts || !same {
				t.Errorf("%+v %v, want %+v %v", counts, ious, c.counts, c.ious)
			}
		})
	}
}

func TestScoreMask(t *testing.T) {
	s := Draw(5, Options{})
	o := &s.Objects[0]
	mask := o.Visible.Pixels(s.W, s.H)
	if v := ScoreMask(o, mask, s.W, s.H); v != 1 {
		t.Errorf("its own mask scores %g", v)
	}
	if v := ScoreMask(o, make([]byte, s.W*s.H), s.W, s.H); v != 0 {
		t.Errorf("an empty mask scores %g", v)
	}
	if v := ScoreMask(o, mask, s.W+1, s.H); v != 0 {
		t.Errorf("a mask of another size scores %g", v)
	}
	for i := range mask {
		mask[i] = 1
	}
	want := float64(o.Visible.Area()) / float64(s.W*s.H)
	if v := ScoreMask(o, mask, s.W, s.H); math.Abs(v-want) > 1e-12 {
		t.Errorf("everything scores %g, want %g", v, want)
	}
}

func TestWordsOfText(t *testing.T) {
	got := splitWords("detect red circle ; star\n<loc0001><loc0002> which, or?")
	want := []string{"detect", "red", "circle", ";", "star", "<loc0001>", "<loc0002>", "which", ",", "or", "?"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
