package cli

import (
	"context"
	"fmt"
	"image"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"paligemma/internal/draw"
	"paligemma/internal/engine"
	"paligemma/internal/mask"
	"paligemma/internal/preprocess"
	"paligemma/internal/task"
)

// objectOptions are the flags of detect, segment and parse: what becomes of the
// objects in a text.
type objectOptions struct {
	Draw        string
	MaskDir     string
	MaskDecoder string
	Overwrite   bool
}

func (o *objectOptions) maskFlags(f *pflag.FlagSet) {
	f.StringVar(&o.MaskDir, "mask-dir", "", "write the mask of each object as a PNG into the folder `DIR`")
	f.StringVar(&o.MaskDecoder, "mask-decoder", "", "decode masks with `FILE`: vae-oid.npz, or a GGUF that has the decoder")
}

func (o *objectOptions) drawFlags(f *pflag.FlagSet, what string) {
	f.StringVar(&o.Draw, "draw", "", what)
	f.BoolVar(&o.Overwrite, "overwrite", false, "replace pictures that exist (but never an input image)")
}

// finder makes boxes and masks of what a model wrote. It is the same for text
// of our models and of others'.
type finder struct {
	a       *app
	out     *outputs
	decoder *engine.Masks // nil: masks stay codes
	maskDir string        // "": masks are not written
	drawDir string        // the folder that --draw needs; "": none
	scores  bool          // the table has a column of confidences
	noted   bool          // nothing more is to be said about a missing decoder
	dropped droppedTally
}

// droppedTally counts what the texts of a run hold besides objects.
type droppedTally struct {
	pieces, texts int
	first         string
}

// found is what is in a text.
type found struct {
	boxes []task.Box
	masks []task.Mask
	rows  [][]string // of the table

	dropped      []task.Piece
	droppedCount int // 0 if dropped lists all
}

// sight is what a text is about.
type sight struct {
	shown string       // for messages
	name  string       // for files
	size  image.Point  // of the upright image
	draw  *image.NRGBA // to draw on; nil: not wanted
	rate  rater        // of the text; nil: confidences are not known
}

// Masks decoded at once, and of one text: more than a model's context has room
// for. A hostile text could ask for thousands, which JSON has to hold together;
// of the largest images each takes a gigabyte and seconds.
const (
	decodedAtOnce    = 32
	maxDecoded       = 512
	maxDecodedPixels = 1 << 30
)

// decodable returns how many masks of an image's size are decoded of one text.
func decodable(size image.Point) int {
	pixels := int64(size.X) * int64(size.Y)
	if pixels > mask.MaxPixels {
		return 0
	}
	return int(min(maxDecoded, maxDecodedPixels/pixels))
}

// find reads the objects in text, decodes and writes their masks and draws them.
func (f *finder) find(ctx context.Context, text string, at sight) (found, error) {
	parsed := task.Parse(text, at.size.X, at.size.Y)
	f.tell(parsed, at)
	out := found{boxes: parsed.Boxes(), masks: parsed.Masks(), dropped: parsed.Pieces()}
	if parsed.DroppedCount > len(out.dropped) {
		out.droppedCount = parsed.DroppedCount
	}
	out.rate(parsed, at.rate)
	if len(out.masks) > 0 && f.decoder == nil && !f.noted {
		f.noted = true
		f.a.note("masks stay codes without the mask decoder: name it with --mask-decoder vae-oid.npz")
	}
	var numbers []int // of the objects that have masks, from 1
	for i, o := range parsed.Objects {
		if o.Codes != nil {
			numbers = append(numbers, i+1)
		}
	}
	if f.decoder != nil {
		n := min(len(out.masks), decodable(at.size))
		switch {
		case n == 0 && len(out.masks) > 0:
			f.a.note("%s: masks stay codes: %d×%d pixels are more than the limit of %d", at.shown, at.size.X, at.size.Y, mask.MaxPixels)
		case n < len(out.masks):
			f.a.note("%s: there are %d masks of %d×%d pixels, the first %d are decoded", at.shown, len(out.masks), at.size.X, at.size.Y, n)
		}
		for from := 0; from < n; from += decodedAtOnce {
			to := min(from+decodedAtOnce, n)
			if err := f.decode(ctx, out.masks[from:to], numbers[from:to], at); err != nil {
				return out, err
			}
		}
	}
	out.table(parsed, f.scores)
	if at.draw == nil {
		return out, nil
	}
	overlays := make([]draw.Object, len(parsed.Objects))
	for i, o := range parsed.Objects {
		overlays[i] = draw.Object{Label: o.Label, Box: o.Box}
	}
	return out, draw.Objects(at.draw, overlays, draw.Options{})
}

// tell says with -v what of a text is doubtful or not an object, and counts the
// latter.
func (f *finder) tell(parsed task.Result, at sight) {
	for _, n := range parsed.Doubts {
		f.a.detail("%s: %s", at.shown, n)
	}
	for _, n := range parsed.Dropped {
		f.a.detail("%s: dropped: %s", at.shown, n)
	}
	if parsed.DroppedCount == 0 {
		return
	}
	f.a.detail("%s: objects: %d, pieces left out: %d", at.shown, len(parsed.Objects), parsed.DroppedCount)
	if f.dropped.pieces == 0 {
		f.dropped.first = fmt.Sprintf("%s: %s", at.shown, parsed.Dropped[0])
	}
	f.dropped.pieces += parsed.DroppedCount
	f.dropped.texts++
}

// tellDropped says at the end of a run how much was left out.
func (f *finder) tellDropped() {
	switch d := f.dropped; {
	case d.pieces == 1:
		f.a.note("left out 1 piece of text that is not an object: %s", d.first)
	case d.pieces > 1 && d.texts == 1:
		f.a.note("left out %d pieces of text that are not objects (-v lists them), the first in %s", d.pieces, d.first)
	case d.pieces > 1:
		f.a.note("left out %d pieces of %d texts that are not objects (-v lists them), the first in %s", d.pieces, d.texts, d.first)
	}
}

// rate gives boxes and masks their confidence.
func (out *found) rate(parsed task.Result, rate rater) {
	if rate == nil {
		return
	}
	masks := out.masks
	for i, o := range parsed.Objects {
		out.boxes[i].Confidence = rate(o.Start, o.End)
		if o.Codes != nil {
			masks[0].Confidence = out.boxes[i].Confidence
			masks = masks[1:]
		}
	}
}

// decode fills in masks, one full-size mask at a time.
func (f *finder) decode(ctx context.Context, masks []task.Mask, numbers []int, at sight) error {
	codes := make([][]int, len(masks))
	for i, m := range masks {
		codes[i] = m.Codes
	}
	logits, err := f.decoder.Decode(ctx, codes)
	if err != nil {
		return err
	}
	for i := range masks {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := &masks[i]
		pixels, err := mask.Paste(logits[i], m.Box, at.size.X, at.size.Y)
		if err != nil {
			return fmt.Errorf("%s: %w", at.shown, err)
		}
		if err := m.SetPixels(pixels, at.size.X, at.size.Y); err != nil {
			return fmt.Errorf("%s: %w", at.shown, err)
		}
		if f.maskDir != "" {
			path := maskPath(f.maskDir, at.name, numbers[i])
			err := f.out.write(path, func(w io.Writer) error {
				return draw.EncodeMask(w, pixels, at.size.X, at.size.Y)
			})
			if err != nil {
				return err
			}
			m.MaskFile = path
		}
		if at.draw != nil {
			if err := draw.Mask(at.draw, m.Label, pixels, draw.Options{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// table makes a row of each object: label, box, confidence if wanted and, where
// there is a mask, its codes, then its area and its file, as far as they are
// there.
func (out *found) table(parsed task.Result, scores bool) {
	masks := out.masks
	for i, o := range parsed.Objects {
		row := []string{o.Label}
		for _, v := range o.Box {
			row = append(row, coordinate(v))
		}
		if scores {
			row = append(row, confidenceColumn(out.boxes[i].Confidence))
		}
		if o.Codes != nil {
			m := masks[0]
			masks = masks[1:]
			row = append(row, joinInts(m.Codes))
			if m.Area != nil {
				row = append(row, strconv.Itoa(*m.Area))
			}
			if m.MaskFile != "" {
				row = append(row, m.MaskFile)
			}
		}
		out.rows = append(out.rows, row)
	}
}

func joinInts(values []int) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(v))
	}
	return b.String()
}

// canvas returns the picture in a file, upright, to be drawn on, and what was
// mended in it.
func canvas(data []byte, lim preprocess.Limits) (*image.NRGBA, []string, error) {
	rgb, err := preprocess.Decode(data, lim)
	if err != nil {
		return nil, nil, err
	}
	img, err := draw.FromRGB(rgb.Pix, rgb.W, rgb.H)
	return img, rgb.Warnings, err
}
