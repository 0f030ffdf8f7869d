package tokenizer

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

func TestPromptGoldens(t *testing.T) {
	tok := open(t, false)
	for _, name := range []string{"pg1-tiny.json", "pg2-tiny.json", "pg1-odd.json"} {
		t.Run(name, func(t *testing.T) {
			var file struct {
				Cases []struct {
					Case      string          `json:"case"`
					Image     json.RawMessage `json:"image"`
					Prompt    string          `json:"prompt"`
					Suffix    *string         `json:"suffix"`
					IDs       []int           `json:"input_ids"`
					Types     []int64         `json:"token_type_ids"`
					Labels    []int64         `json:"labels"`
					Generated []int           `json:"generated_ids"`
					Text      string          `json:"generated_text"`
				} `json:"cases"`
			}
			golden(t, name, &file)
			if len(file.Cases) < 16 {
				t.Errorf("%d cases", len(file.Cases))
			}
			for _, c := range file.Cases {
				images := 1
				var several []string
				if json.Unmarshal(c.Image, &several) == nil {
					images = len(several)
				}
				tokens := 16
				if name == "pg1-odd.json" {
					tokens = countOf(c.IDs, tok.src.Image) / images
				}
				ids, err := tok.Prompt(c.Prompt, images, tokens)
				if err != nil {
					t.Fatal(err)
				}
				prefix := len(ids)
				var suffix []int
				if c.Suffix != nil {
					if suffix, err = tok.Suffix(*c.Suffix); err != nil {
						t.Fatal(err)
					}
				}
				ids = append(ids, suffix...)
				if !slices.Equal(ids, c.IDs) {
					t.Errorf("%s %s: ids %v, want %v", name, c.Case, ids, c.IDs)
				}
				if types := TokenTypes(prefix, len(suffix)); !slices.Equal(types, c.Types) {
					t.Errorf("%s %s: token types %v, want %v", name, c.Case, types, c.Types)
				}
				for i, label := range c.Labels {
					want := int64(-100)
					if i >= prefix {
						want = int64(suffix[i-prefix])
					}
					if label != want {
						t.Errorf("%s %s: label %d is %d, want %d", name, c.Case, i, label, want)
					}
				}
				if got := tok.Decode(c.Generated); got != c.Text {
					t.Errorf("%s %s: text %q, want %q", name, c.Case, got, c.Text)
				}
			}
		})
	}
}

func countOf(ids []int, id int) (n int) {
	for _, v := range ids {
		if v == id {
			n++
		}
	}
	return n
}

func TestPromptWithoutImage(t *testing.T) {
	tok := open(t, false)
	ids, err := tok.Prompt("caption en", 0, 16)
	if want := []int{2, 518, 369, 14}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("ids %v, %v; want %v", ids, err, want)
	}
	if _, err := tok.Prompt("", -1, 16); err == nil {
		t.Error("-1 images pass")
	}
	if _, err := tok.Prompt("", 1, 0); err == nil {
		t.Error("images of no tokens pass")
	}
}

// What transformers' processor gives for text=[prompt] and as many images:
// sample.replace(IMAGE, IMAGE·3), <bos> after the last IMAGE, "\n".
func TestPromptTypedImage(t *testing.T) {
	tok := open(t, true)
	const im = 2176
	for _, c := range []struct {
		prompt string
		images int
		want   []int
	}{
		{"<image>x", 1, []int{im, im, im, 2, 912, 14}},
		{"x<image>y", 1, []int{912, im, im, im, 2, 913, 14}},
		{"<image>x<image>", 2, []int{im, im, im, 912, im, im, im, 2, 14}},
		{"<image><bos>", 1, []int{im, im, im, 2, 2, 14}},
		{"x", 1, []int{im, im, im, 2, 912, 14}},
	} {
		ids, err := tok.Prompt(c.prompt, c.images, 3)
		if err != nil || !slices.Equal(ids, c.want) {
			t.Errorf("Prompt(%q) = %v, %v; want %v", c.prompt, ids, err, c.want)
		}
	}
	for _, images := range []int{0, 1, 3} {
		_, err := tok.Prompt("<image><image>", images, 3)
		var count *ImageCountError
		if !errors.As(err, &count) || count.Typed != 2 || count.Given != images {
			t.Errorf("%d images for two places: %v", images, err)
		}
	}
	plain := open(t, false)
	ids, err := plain.Prompt("<image>x", 1, 3)
	if err != nil || countOf(ids, im) != 3 || ids[3] != 2 {
		t.Errorf("<image> as plain text: %v, %v", ids, err)
	}
}
