package model_test

import (
	"fmt"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/testdevice"
)

// TestEncodeAll encodes more images than a pass takes as one after the other.
func TestEncodeAll(t *testing.T) {
	for typ, tolerance := range map[string]float64{"f32": 1e-5, "f16": 1e-3} { // f16: attention is one operation
		t.Run(typ, func(t *testing.T) { encodeAll(t, typ, tolerance) })
	}
}

// TestEncodeOnCPU has the CPU's kernels encode one image at a time, with a new graph for each.
func TestEncodeOnCPU(t *testing.T) {
	m := openOn(t, convertTo(t, "pg1-tiny", "f32"), ggml.Options{Device: "cpu", Threads: 1})
	if n := m.ImagesPerPass(); n != 1 {
		t.Errorf("%d images in a pass", n)
	}
	if _, err := m.Encode(t.Context(), picture(m, 1)); err != nil || m.Encodings() > 0 {
		t.Errorf("%d graphs are kept (%v)", m.Encodings(), err)
	}
}

func encodeAll(t *testing.T, typ string, tolerance float64) {
	m := openOn(t, convertTo(t, "pg1-tiny", typ), otherDevice(t))
	if m.ImagesPerPass() < 2 {
		t.Fatalf("%d images in a pass", m.ImagesPerPass())
	}
	var images [][]float32
	for i := range m.ImagesPerPass() + 3 {
		images = append(images, picture(m, i+3))
	}
	all, err := m.EncodeAll(t.Context(), images, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, pixels := range images {
		want, err := m.Encode(t.Context(), pixels)
		if err != nil {
			t.Fatal(err)
		}
		if all[i].Tokens != want.Tokens {
			t.Errorf("image %d: %d tokens, want %d", i, all[i].Tokens, want.Tokens)
		}
		compare(t, fmt.Sprint("image ", i), values(t, all[i]), values(t, want), testdevice.Chosen(t).TypeTolerance(typ, tolerance))
	}
	if _, err := m.EncodeAll(t.Context(), append(images[:1:1], images[1][:5]), nil); err == nil {
		t.Error("an image of 5 values: no error")
	}
}
