package eval

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"paligemma/internal/demo/scene"
	"paligemma/internal/mask"
	"paligemma/internal/preprocess"
	"paligemma/internal/task"
)

const testScenes = 24

// perfect answers a sample as its scene has it.
func perfect(t *testing.T, c Case, s scene.Sample) Answer {
	t.Helper()
	a := Answer{Prompt: s.Prompt, Text: s.Answer}
	for _, b := range s.Boxes {
		a.Objects = append(a.Objects, task.Found{Label: b.Label, Box: b.Box})
	}
	if s.Task == scene.TaskSegment && s.Object >= 0 {
		m, err := mask.Measure(c.Scene.Objects[s.Object].Visible.Pixels(c.Scene.W, c.Scene.H), c.Scene.W, c.Scene.H)
		if err != nil {
			t.Fatal(err)
		}
		a.Objects = []task.Found{{Label: s.Boxes[0].Label, Mask: &task.MaskData{RLE: &m.RLE}}}
	}
	return a
}

// mark marks all samples of scenes, answered perfectly but for what change does.
func mark(t *testing.T, change func(s scene.Sample, a *Answer)) *Scores {
	t.Helper()
	cases, err := Draw(t.TempDir(), 7, testScenes)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, c := range cases {
		for _, s := range c.Samples {
			a := perfect(t, c, s)
			change(s, &a)
			if err := e.Encode(a); err != nil {
				t.Fatal(err)
			}
		}
	}
	scores, err := Mark(cases, &b)
	if err != nil {
		t.Fatal(err)
	}
	return scores
}

func TestPerfectAnswers(t *testing.T) {
	s := mark(t, func(scene.Sample, *Answer) {})
	for name, v := range map[string]float64{
		"caption": s.CaptionF1(), "vqa": s.VQAMean(), "detect": s.Detect.F1(), "box": s.Box.Value(),
		"mask": s.Mask.Value(), "ocr": s.OCR.Value(), "absent": s.Absent.Value(),
	} {
		t.Run(name, func(t *testing.T) {
			if v != 1 {
				t.Errorf("%v of perfect answers, want 1", v)
			}
		})
	}
	for what, means := range map[string]map[string]Mean{"labels": s.Labels, "found": s.Found} {
		for name, m := range means {
			if m.Value() != 1 {
				t.Errorf("%s, %s: %v of perfect answers, want 1", what, name, m.Value())
			}
		}
	}
	if len(s.Labels) < 3 || len(s.Found) != 3 {
		t.Errorf("labels by %d numbers of names, boxes of %d sizes", len(s.Labels), len(s.Found))
	}
	for _, kind := range scene.Kinds {
		if s.VQA[kind].N == 0 {
			t.Errorf("no question of kind %s in %d scenes", kind, testScenes)
		}
	}
}

// Each mistake costs its own mark and no other.
func TestMistakesCost(t *testing.T) {
	s := mark(t, func(s scene.Sample, a *Answer) {
		switch {
		case s.Task == scene.TaskOCR && s.Answer != "":
			a.Text += "x"
		case s.Task == scene.TaskDetect:
			for i := range a.Objects {
				a.Objects[i].Box[2] += 2 * (a.Objects[i].Box[2] - a.Objects[i].Box[0]) // IoU 1/3
			}
		case s.Task == scene.TaskSegment:
			a.Objects = nil
		case s.Kind == scene.KindColor:
			a.Text = "pink"
		}
	})
	if s.OCR.Value() != 0 || s.Mask.Value() != 0 || s.Detect.F1() != 0 || s.VQA[scene.KindColor].Value() != 0 {
		t.Errorf("mistakes were not counted: %+v", s)
	}
	if s.Labels["1"].Value() != 1 || math.Abs(s.Found["larger"].Value()-1.0/3) > 1e-9 {
		t.Errorf("labels %v, boxes found %v", s.Labels, s.Found)
	}
	if math.Abs(s.Box.Value()-1.0/3) > 1e-9 {
		t.Errorf("mean IoU %v, want 1/3", s.Box.Value())
	}
	if s.CaptionF1() != 1 || s.VQA[scene.KindCount].Value() != 1 || s.Absent.Value() != 1 {
		t.Errorf("a mark without a mistake is not 1: %+v", s)
	}
}

func TestSpeakingOfWhatIsAbsent(t *testing.T) {
	s := mark(t, func(s scene.Sample, a *Answer) {
		if s.Answer == "" {
			a.Text = "sign"
			if s.Task == scene.TaskDetect {
				a.Objects = []task.Found{{Label: "sign", Box: [4]float64{0, 0, 9, 9}}}
			}
		}
	})
	if v := s.Labels["1"].Value(); v >= 1 {
		t.Errorf("labels %v with a box on empty ground", v)
	}
	if s.Absent.N == 0 || s.Absent.Value() != 0 {
		t.Errorf("absent: %v of %d, want 0", s.Absent.Value(), s.Absent.N)
	}
}

func TestAnswersAreOfTheirPrompts(t *testing.T) {
	cases, err := Draw(t.TempDir(), 7, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"none":  "",
		"other": `{"prompt": "what?"}`,
		"error": `{"error": "no such file"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Mark(cases, strings.NewReader(text)); err == nil {
				t.Error("no error")
			}
		})
	}
}

// The pictures on disk are those of the scenes.
func TestDraw(t *testing.T) {
	cases, err := Draw(t.TempDir(), 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		data, err := os.ReadFile(c.Path)
		if err != nil {
			t.Fatal(err)
		}
		rgb, err := preprocess.Decode(data, preprocess.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(rgb.Pix, c.Scene.Picture.Pix) {
			t.Errorf("%s is not what was drawn", c.Path)
		}
	}
	var b bytes.Buffer
	if err := WriteRequests(&b, cases); err != nil {
		t.Fatal(err)
	}
	if got, want := bytes.Count(b.Bytes(), []byte("\n")), len(cases[0].Samples)+len(cases[1].Samples); got != want {
		t.Errorf("%d requests, want %d", got, want)
	}
}
