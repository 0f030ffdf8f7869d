package task

import (
	"math"
	"testing"
)

func TestCaption(t *testing.T) {
	for _, c := range []struct{ lang, style, want string }{
		{"", "", "caption en"},
		{"en", "short", "cap en"},
		{"de", "coco", "caption de"},
		{"zh-Hans", "detailed", "describe zh-Hans"},
	} {
		got, err := Caption(c.lang, c.style)
		if err != nil || got != c.want {
			t.Errorf("Caption(%q, %q) = %q, %v; want %q", c.lang, c.style, got, err, c.want)
		}
	}
	for _, c := range [][2]string{{"en", "long"}, {"en", "COCO"}, {"e n", ""}, {"en\n", ""}, {"<image>", ""}, {"abcdefghijklmnopq", ""}} {
		if got, err := Caption(c[0], c[1]); err == nil {
			t.Errorf("Caption(%q, %q) = %q, want an error", c[0], c[1], got)
		}
	}
}

func TestPrompts(t *testing.T) {
	for _, c := range [][2]string{
		{VQA("What is on the flower?", ""), "What is on the flower?"},
		{VQA(" two\nlines ", ""), " two\nlines "},
		{VQA("where is it?", "en"), "answer en where is it?"},
		{Detect("cat ; dog"), "detect cat ; dog"},
		{Segment("cat"), "segment cat"},
		{OCR(), "ocr"},
	} {
		if c[0] != c[1] {
			t.Errorf("prompt %q, want %q", c[0], c[1])
		}
	}
}

func TestBoxTokens(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		box  [4]float64
		w, h int
		want string
	}{
		{[4]float64{0, 0, 640, 480}, 640, 480, "<loc0000><loc0000><loc1023><loc1023>"},
		{[4]float64{64, 48, 320, 120}, 640, 480, "<loc0102><loc0102><loc0256><loc0512>"},    // 320/640 is bin 511.5: to even
		{[4]float64{10, 0, 30, 60}, 60, 60, "<loc0000><loc0170><loc1023><loc0512>"},         // 10/60 is bin 170.5: to even
		{[4]float64{-5, -0.1, 1e9, 481}, 640, 480, "<loc0000><loc0000><loc1023><loc1023>"},  // clamped
		{[4]float64{nan, -inf, inf, nan}, 640, 480, "<loc0000><loc0000><loc0000><loc1023>"}, // never out of range
		{[4]float64{1, 2, 3, 4}, 0, -1, "<loc0000><loc0000><loc0000><loc0000>"},
	} {
		if got := BoxTokens(c.box, c.w, c.h); got != c.want {
			t.Errorf("BoxTokens(%v, %d, %d) = %s, want %s", c.box, c.w, c.h, got, c.want)
		}
	}
}
