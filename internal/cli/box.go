package cli

import (
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/task"
)

// box is a part of an image, x0, y0, x1, y1 in pixels of the upright image, that
// a prompt is about. It is the value of --box.
type box struct {
	corners [4]float64
	text    string // as it was typed; "": no box
}

// Set parses the value of the flag.
func (b *box) Set(text string) error {
	parts := strings.Split(text, ",")
	if len(parts) != len(b.corners) {
		return errors.New("want x0,y0,x1,y1 in pixels")
	}
	for i, part := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s is not a number of pixels", quote.Short(part))
		}
		b.corners[i] = v
	}
	c := b.corners
	if c[0] < 0 || c[1] < 0 || c[2] <= c[0] || c[3] <= c[1] {
		return errors.New("want 0 ≤ x0 < x1 and 0 ≤ y0 < y1")
	}
	b.text = text
	return nil
}

// String returns what was typed.
func (b *box) String() string { return b.text }

// Type names the kind of value.
func (b *box) Type() string { return "box" }

// given reports whether there is a box.
func (b *box) given() bool { return b.text != "" }

// checkInside makes sure that the box, if there is one, is in an image.
func (b *box) checkInside(path string, size image.Point) error {
	if b == nil || b.corners[2] <= float64(size.X) && b.corners[3] <= float64(size.Y) {
		return nil
	}
	return usageError{fmt.Errorf("--box %s leaves %s, which is %d×%d pixels", b.text, path, size.X, size.Y)}
}

// ground appends the box to a prompt as location tokens:
// "caption" becomes "caption <loc…><loc…><loc…><loc…>".
func (b *box) ground(prompt string, size image.Point) string {
	if prompt != "" && !strings.HasSuffix(prompt, " ") {
		prompt += " "
	}
	return prompt + task.BoxTokens(b.corners, size.X, size.Y)
}
