package cli

import (
	"fmt"
	"image"

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
	if b == nil || task.Inside(b.corners, size.X, size.Y) {
		return nil
	}
	return usageError{fmt.Errorf("--box %s leaves %s, which is %d×%d pixels", b.text, path, size.X, size.Y)}
}
