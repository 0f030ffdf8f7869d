package engine

import (
	"context"
	"fmt"
	"image"

	"paligemma/internal/mask"
	"paligemma/internal/task"
)

// Limits of the masks of one text, which is more than a model's context has room
// for. A hostile text could ask for thousands, all of whose outlines are held at
// once; of the largest images each takes a gigabyte and seconds.
const (
	MaxMasks      = 512     // decoded of one text
	maxMaskPixels = 1 << 30 // of all of them together
	masksAtOnce   = 32      // in one pass of the decoder
)

// ObjectOptions say what is made of the objects in a text.
type ObjectOptions struct {
	Size  image.Point // of the upright image, in pixels
	Spans []TokenSpan // of the text: gives confidences; nil: none
	Masks *Masks      // decodes masks; nil: masks stay codes

	// OnMask, if set, is called with each mask that was decoded, [H][W], in the
	// order of the objects; i is the object's index in found, whose later masks are
	// still to be decoded. The pixels may be used until it returns: one mask at a
	// time is in memory. An error ends the decoding and is returned.
	OnMask func(found *Objects, i int, pixels []byte) error
}

// Object is an object in a text.
type Object struct {
	task.Object
	Confidence *float64       // of its tokens; nil: not known
	Mask       *mask.Measures // nil: the object has no mask, or it stays codes
}

// Objects are what is in a text.
type Objects struct {
	Objects   []Object
	Codes     int // objects that have the codes of a mask
	Decodable int // of those, the first ones, as many as are decoded: 0 without a decoder

	Doubts       []task.Note // the first pieces that were kept although something is wrong with them
	Dropped      []task.Note // the first pieces that were left out
	DroppedCount int         // all pieces that were left out
}

// FindObjects finds the objects in a text that a PaliGemma wrote about an image,
// and decodes their masks.
func FindObjects(ctx context.Context, text string, o ObjectOptions) (Objects, error) {
	parsed := task.Parse(text, o.Size.X, o.Size.Y)
	found := Objects{
		Objects: make([]Object, len(parsed.Objects)),
		Doubts:  parsed.Doubts, Dropped: parsed.Dropped, DroppedCount: parsed.DroppedCount,
	}
	var masked []int // indices of the objects with codes
	for i, object := range parsed.Objects {
		found.Objects[i] = Object{Object: object, Confidence: spanConfidence(o.Spans, object.Start, object.End)}
		if object.Codes != nil {
			masked = append(masked, i)
		}
	}
	found.Codes = len(masked)
	if o.Masks == nil {
		return found, nil
	}
	found.Decodable = min(len(masked), decodable(o.Size))
	masked = masked[:found.Decodable]
	for len(masked) > 0 {
		n := min(len(masked), masksAtOnce)
		if err := found.decode(ctx, masked[:n], o); err != nil {
			return found, err
		}
		masked = masked[n:]
	}
	return found, nil
}

// decodable returns how many masks of an image's size are decoded of one text.
func decodable(size image.Point) int {
	pixels := int64(size.X) * int64(size.Y)
	if pixels > mask.MaxPixels {
		return 0
	}
	return int(min(MaxMasks, maxMaskPixels/max(pixels, 1)))
}

// decode measures the masks of the objects with the given indices, one at a time.
func (found *Objects) decode(ctx context.Context, indices []int, o ObjectOptions) error {
	codes := make([][]int, len(indices))
	for n, i := range indices {
		codes[n] = found.Objects[i].Codes
	}
	logits, err := o.Masks.Decode(ctx, codes)
	if err != nil {
		return err
	}
	for n, i := range indices {
		if err := ctx.Err(); err != nil {
			return err
		}
		object := &found.Objects[i]
		pixels, err := mask.Paste(logits[n], object.Box, o.Size.X, o.Size.Y)
		if err != nil {
			return fmt.Errorf("mask %d: %w", i+1, err)
		}
		measures, err := mask.Measure(pixels, o.Size.X, o.Size.Y)
		if err != nil {
			return fmt.Errorf("mask %d: %w", i+1, err)
		}
		object.Mask = &measures
		if o.OnMask != nil {
			if err := o.OnMask(found, i, pixels); err != nil {
				return err
			}
		}
	}
	return nil
}

// List returns the objects in the form of JSON.
func (found *Objects) List() []task.Found {
	list := make([]task.Found, len(found.Objects))
	for i, o := range found.Objects {
		list[i] = task.Found{Label: o.Label, Box: task.RoundBox(o.Box), Normalized: task.RoundBox(o.Normalized), Confidence: o.Confidence}
		if o.Codes == nil {
			continue
		}
		data := &task.MaskData{Codes: o.Codes}
		if m := o.Mask; m != nil {
			area := task.Round(m.PolygonArea)
			data.Area, data.RLE, data.Polygons, data.PolygonArea = &m.Area, &m.RLE, m.Polygons, &area
		}
		list[i].Mask = data
	}
	return list
}

// Pieces returns what was left out of the text, in the form of JSON.
func (found *Objects) Pieces() []task.Piece { return task.Pieces(found.Dropped) }
