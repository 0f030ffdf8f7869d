package model_test

import (
	"slices"
	"strings"
	"testing"

	"paligemma/internal/model"
)

// TestFeaturesOfManyImages encodes more images than a device keeps: all have their values,
// and a prompt of the first one is the same before and after others took its place.
func TestFeaturesOfManyImages(t *testing.T) {
	const images = 40
	m := load(t, "pg1-tiny", "f32")
	v, tokens := m.Config().Vision, m.Config().Tokens
	encode := func(i int) model.Features {
		f, err := m.Encode(t.Context(), picture(m, i+1))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	logits := func(images ...model.Features) []float32 {
		p := model.Prompt{Images: images}
		for _, f := range images {
			p.IDs = append(p.IDs, slices.Repeat([]int{tokens.Image}, f.Tokens)...)
			p.IDs = append(p.IDs, 7) // text between images
		}
		got, err := m.Trace(t.Context(), p, nil, model.TraceOptions{LogitsToKeep: 1})
		if err != nil {
			t.Fatal(err)
		}
		return got.Logits
	}
	var all []model.Features
	var want [][]float32
	for i := range images {
		all = append(all, encode(i))
		if i%2 == 0 {
			want = append(want, slices.Clone(values(t, all[i]))) // while it is there
		} else {
			want = append(want, nil)
		}
	}
	for i, f := range all {
		if got := values(t, f); want[i] != nil && !slices.Equal(got, want[i]) || len(got) != f.Tokens*m.Config().Text.Hidden {
			t.Errorf("image %d has other values later", i)
		}
		if again := encode(i); !slices.Equal(values(t, again), values(t, f)) {
			t.Errorf("image %d is encoded otherwise the second time", i)
		}
	}
	first, last := encode(0), encode(1)
	before := logits(first, last)
	for i := range images {
		encode(i)
	}
	if after := logits(first, last); !slices.Equal(before, after) {
		t.Error("a prompt has other logits when the device keeps other images")
	}
	prompt := model.Prompt{IDs: slices.Repeat([]int{tokens.Image}, v.ImageTokens), Images: []model.Features{first}}
	here, err := m.Trace(t.Context(), prompt, nil, model.TraceOptions{LogitsToKeep: 1})
	if err != nil {
		t.Fatal(err)
	}
	there, err := load(t, "pg1-tiny", "f32").Trace(t.Context(), prompt, nil, model.TraceOptions{LogitsToKeep: 1})
	if err != nil || !slices.Equal(here.Logits, there.Logits) {
		t.Errorf("another model of the same file has other logits for an image (%v)", err)
	}
	for name, bad := range map[string]model.Features{
		"of no tokens":  {},
		"too few":       {Tokens: 2, Values: make([]float32, m.Config().Text.Hidden)},
		"of two widths": {Tokens: 1, Values: make([]float32, m.Config().Text.Hidden+1)},
	} {
		if _, err := m.Trace(t.Context(), model.Prompt{IDs: []int{tokens.Image}, Images: []model.Features{bad}}, nil, model.TraceOptions{}); err == nil || !strings.Contains(err.Error(), "an image of") {
			t.Errorf("features %s: %v", name, err)
		}
	}
	fetched, lost := encode(0), encode(1)
	read := values(t, fetched)
	m.Close()
	if again := values(t, fetched); !slices.Equal(again, read) {
		t.Error("features that were read have other values after the model was closed")
	}
	if _, err := lost.Read(); (err != nil) != (lost.Values == nil) {
		t.Errorf("features that a device had are read after the model was closed: %v", err)
	}
}
