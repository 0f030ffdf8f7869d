package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"paligemma/internal/demo/scene"
	"paligemma/internal/mask"
	"paligemma/internal/task"
)

// Answer is what the binary wrote, of its JSON what is marked.
type Answer struct {
	Prompt  string       `json:"prompt"`
	Text    string       `json:"text"`
	Objects []task.Found `json:"objects"`
	Error   string       `json:"error"`
}

// Mean is a sum and the number of its terms.
type Mean struct {
	Sum float64
	N   int
}

// Add counts one more.
func (m *Mean) Add(v float64) { m.Sum += v; m.N++ }

// AddBool counts one more, right or wrong.
func (m *Mean) AddBool(right bool) { m.Add(share(right)) }

// share is 1 for right, 0 for wrong.
func share(right bool) float64 {
	if right {
		return 1
	}
	return 0
}

// Value is the mean, 0 of nothing.
func (m Mean) Value() float64 {
	if m.N == 0 {
		return 0
	}
	return m.Sum / float64(m.N)
}

// MarshalJSON writes the mean and over how many it is.
func (m Mean) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Mean float64 `json:"mean"`
		N    int     `json:"n"`
	}{m.Value(), m.N})
}

// F1 are counts that are written with their F1.
type F1 struct{ scene.Counts }

// MarshalJSON writes the counts and F1.
func (f F1) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		scene.Counts
		F1 float64 `json:"f1"`
	}{f.Counts, f.F1()})
}

// Scores are the marks of one model.
type Scores struct {
	Caption map[string]F1   `json:"caption"` // facts, by language
	VQA     map[string]Mean `json:"vqa"`     // right answers, by kind of question
	Detect  F1              `json:"detect"`  // boxes at an intersection over union of 0.5
	Box     Mean            `json:"box_iou"` // of the boxes to be found, 0 where none was
	Mask    Mean            `json:"mask_iou"`
	OCR     Mean            `json:"ocr"`    // exact, where there is a sign
	Absent  Mean            `json:"absent"` // nothing said where detect, segment or ocr ask for what is not there

	Labels map[string]Mean `json:"detect_labels"` // detect answers that name just what is to be found, by how many names the prompt has
	Found  map[string]Mean `json:"found_box_iou"` // of the boxes that were found at all, by size
}

// size is the longer side of a box as a share of the picture's, in words.
func size(box [4]float64, w, h int) string {
	switch side := max((box[2]-box[0])/float64(w), (box[3]-box[1])/float64(h)); {
	case side < 0.2:
		return "below a fifth"
	case side < 0.4:
		return "below two fifths"
	}
	return "larger"
}

// count adds a value to one of several means.
func count(means map[string]Mean, name string, v float64) {
	m := means[name]
	m.Add(v)
	means[name] = m
}

// Mark reads an answer for each sample of the cases, in their order, as JSON
// Lines, and scores them.
func Mark(cases []Case, answers io.Reader) (*Scores, error) {
	s := &Scores{Caption: map[string]F1{}, VQA: map[string]Mean{}, Labels: map[string]Mean{}, Found: map[string]Mean{}}
	d := json.NewDecoder(answers)
	for i := range cases {
		for _, sample := range cases[i].Samples {
			var a Answer
			if err := d.Decode(&a); err != nil {
				return nil, fmt.Errorf("%s, %q: no answer: %w", cases[i].Path, sample.Prompt, err)
			}
			if a.Error != "" {
				return nil, errors.New(a.Error)
			}
			if a.Prompt != sample.Prompt {
				return nil, fmt.Errorf("%s: the answer is to %q, not to %q", cases[i].Path, a.Prompt, sample.Prompt)
			}
			if err := s.mark(cases[i].Scene, sample, a); err != nil {
				return nil, fmt.Errorf("%s, %q: %w", cases[i].Path, sample.Prompt, err)
			}
		}
	}
	return s, nil
}

func (s *Scores) mark(sc *scene.Scene, sample scene.Sample, a Answer) error {
	if sample.Answer == "" {
		s.Absent.AddBool(a.Text == "")
	}
	switch sample.Task {
	case scene.TaskCaption:
		f := s.Caption[sample.Lang]
		f.Add(scene.ScoreCaption(sc, a.Text))
		s.Caption[sample.Lang] = f
	case scene.TaskVQA:
		count(s.VQA, sample.Kind, share(scene.ScoreText(sample.Answer, a.Text)))
	case scene.TaskDetect:
		var got []scene.LabelBox
		for _, b := range a.Objects {
			got = append(got, scene.LabelBox{Label: b.Label, Box: b.Box})
		}
		counts, ious := scene.ScoreBoxes(sample.Boxes, got)
		s.Detect.Add(counts)
		for i, v := range ious {
			s.Box.Add(v)
			if v > 0 {
				count(s.Found, size(sample.Boxes[i].Box, sc.W, sc.H), v)
			}
		}
		named := slices.Equal(labels(sample.Boxes), labels(got))
		count(s.Labels, strconv.Itoa(1+strings.Count(sample.Prompt, ";")), share(named))
	case scene.TaskSegment:
		if sample.Object < 0 {
			return nil
		}
		iou, err := maskIoU(sc, sample, a.Objects)
		if err != nil {
			return err
		}
		s.Mask.Add(iou)
	case scene.TaskOCR:
		if sample.Answer != "" {
			s.OCR.AddBool(scene.ScoreText(sample.Answer, a.Text))
		}
	}
	return nil
}

// labels are those of boxes, in alphabetical order.
func labels(boxes []scene.LabelBox) (all []string) {
	for _, b := range boxes {
		all = append(all, b.Label)
	}
	slices.Sort(all)
	return all
}

// maskIoU is that of the first object with a mask and the right label, 0 if there is none.
func maskIoU(sc *scene.Scene, sample scene.Sample, objects []task.Found) (float64, error) {
	for _, o := range objects {
		if o.Label != sample.Boxes[0].Label || o.Mask == nil || o.Mask.RLE == nil {
			continue
		}
		pixels, err := mask.DecodeRLE(*o.Mask.RLE)
		if err != nil {
			return 0, err
		}
		return scene.ScoreMask(&sc.Objects[sample.Object], pixels, sc.W, sc.H), nil
	}
	return 0, nil
}

// CaptionF1 is F1 over the facts of the captions in all languages.
func (s *Scores) CaptionF1() float64 {
	var all scene.Counts
	for _, f := range s.Caption {
		all.Add(f.Counts)
	}
	return all.F1()
}

// VQAMean is the share of questions of all kinds that were answered right.
func (s *Scores) VQAMean() float64 {
	var all Mean
	for _, m := range s.VQA {
		all.Sum += m.Sum
		all.N += m.N
	}
	return all.Value()
}
