package cli

import (
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/engine"
	"paligemma/internal/result"
	"paligemma/internal/task"
	"paligemma/internal/tokenizer"
)

// answerOf runs a command with --format json.
func answerOf(t *testing.T, args ...string) result.Result {
	t.Helper()
	var r result.Result
	code, out, errs := runArgs(t, t.Context(), false, append(args, "--format", "json")...)
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
		t.Fatalf("%v: %d, %v, %s", args, code, err, errs)
	}
	return r
}

// meanOf is e to the mean of log-probabilities.
func meanOf(steps []result.LogProb) float64 {
	sum := 0.0
	for _, s := range steps {
		sum += s.LogProb
	}
	return math.Exp(sum / float64(len(steps)))
}

func equals(a *float64, b float64) bool { return a != nil && math.Abs(*a-b) < 1e-9 }

// The confidence of an answer is that of all tokens that --logprobs lists, those
// before temperature, the end token included.
func TestAnswerConfidence(t *testing.T) {
	images, m := fixture(t, "IMAGES"), fixture(t, "MODEL")
	scene, photo := filepath.Join(images, "scene.png"), filepath.Join(images, "photo.jpg")
	ends := strings.Repeat("describe the image in english. ", 6)
	for _, c := range []struct {
		name   string
		finish string
		args   []string
	}{
		{"greedy", "length", []string{"caption", scene, "--max-tokens", "9"}},
		{"ends", "stop", []string{"generate", filepath.Join(images, "exif6.jpg"), "--prompt", ends, "--max-tokens", "100"}},
		{"sampled", "length", []string{"ocr", scene, "--temperature", "3", "--top-k", "50", "--seed", "7", "--max-tokens", "9"}},
		{"repeats", "repeat", []string{"detect", "cat", photo, "--stop-repeats", "--max-tokens", "24"}},
		{"one token", "length", []string{"vqa", scene, "--prompt", "x", "--max-tokens", "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append(c.args, "-m", m)
			plain, told := answerOf(t, args...), answerOf(t, append(args, "--logprobs", "2")...)
			if plain.FinishReason != c.finish || !slices.Equal(*plain.Tokens, *told.Tokens) {
				t.Fatalf("%s, %v and %v", plain.FinishReason, *plain.Tokens, *told.Tokens)
			}
			want := len(*told.Tokens)
			if c.finish == "stop" {
				want++
			}
			if len(*told.LogProbs) != want || plain.LogProbs != nil {
				t.Errorf("%d log-probabilities, want %d", len(*told.LogProbs), want)
			}
			mean := meanOf(*told.LogProbs)
			if !equals(plain.Confidence, mean) || !equals(told.Confidence, mean) || !(mean > 0 && mean < 1) {
				t.Errorf("%v and %v, want %v", *plain.Confidence, *told.Confidence, mean)
			}
		})
	}
	t.Run("beams", func(t *testing.T) {
		r := answerOf(t, "caption", scene, "-m", m, "--beams", "3", "--num-return", "2", "--max-tokens", "6")
		if !equals(r.Confidence, math.Exp(r.Alternatives[0].Score)) {
			t.Errorf("%v, score %v", *r.Confidence, r.Alternatives[0].Score)
		}
	})
	t.Run("choices", func(t *testing.T) {
		r := answerOf(t, "vqa", scene, "-m", m, "--prompt", "x", "--choices", "a,b")
		if best := (*r.Scores)[0]; !equals(r.Confidence, math.Exp(best.Mean)) || *r.Text != best.Suffix {
			t.Errorf("%v, mean %v", r.Confidence, best.Mean)
		}
		_, column, errs := runArgs(t, t.Context(), false, "vqa", scene, "-m", m, "--prompt", "x", "--choices", "a,b", "--scores")
		if want := fmt.Sprintf("%.4f\t%s\n", *r.Confidence, *r.Text); column != want {
			t.Errorf("%q, want %q: %s", column, want, errs)
		}
	})
	t.Run("built-in model", func(t *testing.T) {
		r := answerOf(t, "caption", scene, "--logprobs", "1")
		if !equals(r.Confidence, meanOf(*r.LogProbs)) {
			t.Errorf("%v, want %v", *r.Confidence, meanOf(*r.LogProbs))
		}
	})
}

// The confidence of a box is that of its own tokens: those which lie between its
// first location and the end of its label.
func TestBoxConfidence(t *testing.T) {
	images, m := fixture(t, "IMAGES"), fixture(t, "MASKMODEL")
	for _, name := range []string{"scene.png", "photo.jpg", "gray16.png", "exif6.jpg"} {
		if _, err := os.Stat(filepath.Join(images, name)); err != nil {
			continue
		}
		r := answerOf(t, "segment", "cat", filepath.Join(images, name), "-m", m, "--max-tokens", "60", "--logprobs", "1")
		objects := task.Parse(*r.Text, 10, 10).Objects
		if len(*r.Boxes) != len(objects) {
			t.Fatalf("%d boxes, %d objects", len(*r.Boxes), len(objects))
		}
		for i, o := range objects {
			var own []result.LogProb
			at := 0 // no special tokens or bytes of characters among these
			for _, p := range (*r.LogProbs)[:len(*r.Tokens)] {
				if at+len(p.Text) > o.Start && at < o.End {
					own = append(own, p)
				}
				at += len(p.Text)
			}
			if at != len(*r.Text) {
				t.Skipf("%q has tokens without a text", *r.Text)
			}
			if len(own) < 4 || !equals((*r.Boxes)[i].Confidence, meanOf(own)) {
				t.Errorf("%s: box %d: %v, want %v of %d tokens", name, i, *(*r.Boxes)[i].Confidence, meanOf(own), len(own))
			}
		}
	}
}

// Masks have their boxes' confidence, in JSON and in the table; text of other
// programs has none.
func TestMaskConfidence(t *testing.T) {
	text := boxText + " ; " + maskText
	second := len(boxText + " ; ")
	found := objects{}
	var err error
	found.Objects, err = engine.FindObjects(t.Context(), text, engine.ObjectOptions{Size: image.Pt(10, 10), Spans: []engine.TokenSpan{
		{Span: tokenizer.Span{Start: 0, End: second}},
		{Span: tokenizer.Span{Start: second, End: second + 9}, LogProb: -1},
		{Span: tokenizer.Span{Start: second + 9, End: len(text)}, LogProb: -2},
	}})
	if err != nil {
		t.Fatal(err)
	}
	boxes, masks := task.Lists(found.List())
	if !equals(masks[0].Confidence, math.Exp(-1.5)) || !equals(boxes[1].Confidence, math.Exp(-1.5)) || !equals(boxes[0].Confidence, 1) {
		t.Errorf("%v, %v and %v", *masks[0].Confidence, *boxes[1].Confidence, *boxes[0].Confidence)
	}
	if rows := found.rows(true); rows[0][5] != "1.0000" || rows[1][5] != fmt.Sprintf("%.4f", *masks[0].Confidence) || !strings.HasPrefix(rows[1][6], "127,") {
		t.Errorf("%q", rows)
	}
	if _, text, _ := runArgs(t, t.Context(), false, "parse", maskText, "--size", "9x9", "--format", "json"); strings.Contains(text, "confidence") {
		t.Error(text)
	}
}

// --scores adds a column and changes nothing else.
func TestScoresColumn(t *testing.T) {
	images, m := fixture(t, "IMAGES"), fixture(t, "MODEL")
	scene, photo := filepath.Join(images, "scene.png"), filepath.Join(images, "photo.jpg")
	requests := filepath.Join(t.TempDir(), "requests.jsonl")
	line := fmt.Sprintf("{\"image\": %q, \"prompt\": \"detect cat\"}\n", scene)
	if err := os.WriteFile(requests, []byte(line+line), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		column int
		args   []string
	}{
		{"one text", 0, []string{"caption", scene}},
		{"several images", 1, []string{"ocr", scene, photo}},
		{"several questions", 0, []string{"vqa", scene, "--prompt", "a", "--prompt", "b"}},
		{"a stream", 0, []string{"generate", scene, "--prompt", "x"}},
		{"requests", 1, []string{"generate", "--requests", requests}},
		{"beams", 0, []string{"caption", scene, "--beams", "3", "--num-return", "3"}},
		{"boxes", 5, []string{"detect", "cat", scene, "--max-tokens", "40"}},
		{"boxes of several", 6, []string{"detect", "cat", scene, photo, "--max-tokens", "40"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, tty := range []bool{false, true} {
				args := append([]string{}, c.args...)
				if !slices.Contains(args, "--max-tokens") {
					args = append(args, "--max-tokens", "5")
				}
				args = append(args, "-m", m)
				_, without, _ := runArgs(t, t.Context(), tty, args...)
				code, with, errs := runArgs(t, t.Context(), tty, append(args, "--scores")...)
				if code != 0 {
					t.Fatal(errs)
				}
				var kept strings.Builder
				for line := range strings.Lines(with) {
					fields := strings.Split(line, "\t")
					var score float64
					if n, err := fmt.Sscanf(strings.TrimSpace(fields[c.column]), "%f", &score); n != 1 || err != nil || !(score > 0 && score < 1) {
						t.Fatalf("line %q", line)
					}
					rest := slices.Delete(fields, c.column, c.column+1)
					kept.WriteString(strings.TrimSuffix(strings.Join(rest, "\t"), "\n") + "\n")
				}
				if kept.String() != without {
					t.Errorf("%q without the column is %q, want %q", with, kept.String(), without)
				}
			}
		})
	}
}
