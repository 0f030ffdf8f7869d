package cli

import (
	"fmt"
	"image"
	"strings"

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
	var err error
	if b.corners, err = task.ParseBox(text); err != nil {
		return err
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
