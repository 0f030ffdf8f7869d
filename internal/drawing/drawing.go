// Package drawing draws the objects that a model found on the picture that it was asked
// about.
package drawing

import (
	"image"
	"image/color"

	"paligemma/internal/draw"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

// Drawing is a picture, and on it masks, boxes and labels.
type Drawing struct {
	Image    *image.NRGBA
	Warnings []string // what was mended in the picture's file

	colors map[string]color.NRGBA // of masks, by their labels
}

// New begins a drawing on the picture in a file, upright.
func New(data []byte, limits preprocess.Limits) (*Drawing, error) {
	rgb, err := preprocess.Decode(data, limits)
	if err != nil {
		return nil, err
	}
	img, err := draw.FromRGB(rgb.Pix, rgb.W, rgb.H)
	if err != nil {
		return nil, err
	}
	return &Drawing{Image: img, Warnings: rgb.Warnings}, nil
}

// Mask draws the mask of object i, [H][W]. All masks are drawn before [Drawing.Objects].
func (d *Drawing) Mask(found *engine.Objects, i int, pixels []byte) error {
	if d.colors == nil {
		labels := make([]string, len(found.Objects))
		for i, o := range found.Objects {
			labels[i] = o.Label
		}
		d.colors = draw.Colors(labels)
	}
	return draw.Mask(d.Image, d.colors[found.Objects[i].Label], pixels, draw.Options{})
}

// Objects draws boxes and labels. The legend says what stands for labels that no font
// has.
func (d *Drawing) Objects(found *engine.Objects) ([]draw.LegendEntry, error) {
	d.colors = nil // of other texts about the picture there may be others
	boxes := make([]draw.Object, len(found.Objects))
	for i, o := range found.Objects {
		boxes[i] = draw.Object{Label: o.Label, Box: o.Box}
	}
	return draw.Objects(d.Image, boxes, draw.Options{})
}
