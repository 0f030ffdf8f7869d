package cli

import (
	"context"
	"fmt"
	"image"
	"io"
	"os"
	"strconv"
	"strings"

	"paligemma/internal/draw"
	"paligemma/internal/drawing"
	"paligemma/internal/engine"
	"paligemma/internal/mask"
	"paligemma/internal/preview"
	"paligemma/internal/result"
	"paligemma/internal/units"
)

// target is what a text is about, and where the drawing of its objects goes.
type target struct {
	shown   string           // for messages
	name    string           // for files
	number  int              // of the image among those of the run, from 1
	line    int              // of the text; 0: it has none
	drawing string           // the file of the drawing; "": none; -: standard output
	size    image.Point      // of the upright image
	canvas  *drawing.Drawing // nil: nothing is drawn
}

// locator finds the objects in the texts of a run, and makes files of their masks
// and drawings. It is the same for texts of a model and of parse.
type locator struct {
	app     *app
	options objectOptions
	files   *files
	targets map[*item]target // without sizes; of parse: none
	folder  string           // that --draw needs; "": none
	masks   *engine.Masks    // nil: masks stay codes
	asked   bool             // for masks: what opens them was tried
	boxes   boxWriter        // nil: boxes are a table or JSON
	preview *preview.Terminal
	noted   bool // nothing more is to be said about a missing decoder
	dropped droppedTally
	texts   int // located so far
	empty   int // of them without objects
}

// droppedTally counts what the texts of a run hold besides objects.
type droppedTally struct {
	pieces, texts int
	first         string
}

// objects are what is in a text, with the files of the masks.
type objects struct {
	engine.Objects
	maskFiles map[int]string // by the object's index
}

// makeFolders makes the folders for pictures.
func (l *locator) makeFolders() error {
	for flag, dir := range map[string]string{"mask-dir": l.options.MaskDir, "draw": l.folder, "label-dir": l.options.LabelDir} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return fmt.Errorf("--%s %s: %w", flag, dir, cause(err))
		}
	}
	return nil
}

// close frees the mask decoder, and logs what was left out or not found.
func (l *locator) close() {
	l.log()
	if l.masks != nil {
		l.masks.Close()
	}
}

// locate finds the objects in a text, writes their masks and draws them. spans are
// the text's tokens; nil: confidences are not known.
func (l *locator) locate(ctx context.Context, text string, t target, spans []engine.TokenSpan) (objects, error) {
	found := objects{maskFiles: map[int]string{}}
	var err error
	found.Objects, err = engine.FindObjects(ctx, text, engine.ObjectOptions{
		Size: t.size, Spans: spans, Masks: l.masks,
		OnMask: func(all *engine.Objects, i int, pixels []byte) (err error) {
			if l.options.MaskDir != "" {
				if found.maskFiles[i], err = l.writeMask(i, t, pixels); err != nil {
					return err
				}
			}
			if t.canvas == nil {
				return nil
			}
			return t.canvas.Mask(all, i, pixels)
		},
	})
	l.texts++
	if len(found.Objects.Objects) == 0 && err == nil {
		l.empty++
	}
	l.logNotes(&found, t)
	if err != nil || t.canvas == nil {
		return found, err
	}
	legend, err := t.canvas.Objects(&found.Objects)
	for _, e := range legend {
		l.app.note("%s: no font has label %d: %s", t.shown, e.Number, e.Label)
	}
	return found, err
}

// locateOn is locate for a text about an image, on which the objects are drawn if
// pictures are asked for.
func (l *locator) locateOn(ctx context.Context, i *Image, o limitOptions, text string, t target, spans []engine.TokenSpan) (objects, error) {
	if l.pictures() {
		var err error
		if t.canvas, err = drawing.New(i.data, l.app.limits(i.path, o)); err != nil {
			return objects{}, result.ImageError{Err: pathError(t.shown, err)}
		}
	}
	found, err := l.locate(ctx, text, t, spans)
	if err != nil {
		return found, err
	}
	return found, l.finish(t)
}

// pictures reports whether objects are drawn.
func (l *locator) pictures() bool { return l.options.Draw != "" || l.preview != nil }

// finish writes the drawing of a target, and shows it.
func (l *locator) finish(t target) error {
	if t.canvas == nil {
		return nil
	}
	switch t.drawing {
	case "":
	case stdinName:
		if err := draw.Encode(l.app.Out, t.canvas.Image, draw.PNG); err != nil {
			return err
		}
	default:
		if err := l.files.draw(t.drawing, t.canvas.Image); err != nil {
			return err
		}
	}
	if l.preview == nil {
		return nil
	}
	return l.preview.Show(t.canvas.Image)
}

// print prints the objects of a text, unless that is to be JSON: done says so.
func (l *locator) print(p *printer, path string, t target, found *objects, scores bool) (done bool, err error) {
	switch {
	case l.boxes != nil:
		return true, l.boxes.add(boxPage{image: path, number: t.number, line: t.line, name: t.name, size: t.size, objects: found, scores: scores})
	case p.format != formatText:
		return false, nil
	case l.options.Draw == stdinName:
		return true, nil
	}
	return true, p.table(path, found.rows(scores))
}

// closeBoxes ends what the writer of boxes has begun.
func (l *locator) closeBoxes() error {
	if l == nil || l.boxes == nil {
		return nil
	}
	return l.boxes.close()
}

// writeMask writes the mask of the object with index i.
func (l *locator) writeMask(i int, t target, pixels []byte) (path string, err error) {
	path = maskPath(l.options.MaskDir, t.name, i+1)
	return path, l.files.write(path, func(w io.Writer) error {
		return draw.EncodeMask(w, pixels, t.size.X, t.size.Y)
	})
}

// logNotes logs what of a text is doubtful, was left out, or stays codes.
func (l *locator) logNotes(found *objects, t target) {
	for _, n := range found.Doubts {
		l.app.detail("%s: %s", t.shown, n)
	}
	for _, n := range found.Dropped {
		l.app.detail("%s: dropped: %s", t.shown, n)
	}
	if found.DroppedCount > 0 {
		l.app.detail("%s: objects: %d, pieces left out: %d", t.shown, len(found.Objects.Objects), found.DroppedCount)
		if l.dropped.pieces == 0 {
			l.dropped.first = fmt.Sprintf("%s: %s", t.shown, found.Dropped[0])
		}
		l.dropped.pieces += found.DroppedCount
		l.dropped.texts++
	}
	switch {
	case found.Codes == found.Decodable:
	case l.masks == nil:
		if !l.noted {
			l.app.note("masks stay codes without the mask decoder: name it with --mask-decoder vae-oid.npz")
		}
		l.noted = true
	case found.Decodable == 0:
		l.app.note("%s: masks stay codes: %d×%d pixels are more than the limit of %s", t.shown, t.size.X, t.size.Y, units.Number(mask.MaxPixels))
	case found.Decodable < found.Codes:
		l.app.note("%s: there are %d masks of %d×%d pixels, the first %d are decoded", t.shown, found.Codes, t.size.X, t.size.Y, found.Decodable)
	}
}

// log logs at the end of a run what was left out or not found.
func (l *locator) log() {
	l.logDropped()
	l.logEmpty()
}

// logDropped logs at the end of a run how much text was left out.
func (l *locator) logDropped() {
	switch d := l.dropped; {
	case d.pieces == 1:
		l.app.note("left out 1 piece of text that is not an object: %s", d.first)
	case d.pieces > 1 && d.texts == 1:
		l.app.note("left out %d pieces of text that are not objects (-v lists them), the first in %s", d.pieces, d.first)
	case d.pieces > 1:
		l.app.note("left out %s pieces of %s texts that are not objects (-v lists them), the first in %s", units.Number(d.pieces), units.Number(d.texts), d.first)
	}
}

// logEmpty logs at the end of a run that there is nothing in the table, or less than
// one might expect. JSON shows it.
func (l *locator) logEmpty() {
	switch {
	case l.empty == 0 || l.app.common.Format != formatText:
	case l.targets == nil && l.texts > 1: // lines of parse
	case l.texts == 1:
		l.app.note("no objects found")
	default:
		l.app.note("no objects found in %d of %d texts", l.empty, l.texts)
	}
}

// rows returns the table of the objects: label, box, confidence if wanted, and
// where there is a mask its codes, then its area and its file, as far as they
// exist.
func (found *objects) rows(confidences bool) [][]string {
	var rows [][]string
	for i, o := range found.Objects.Objects {
		row := []string{o.Label}
		for _, v := range o.Box {
			row = append(row, strconv.FormatFloat(v, 'f', 1, 64))
		}
		if confidences {
			row = append(row, confidenceColumn(o.Confidence))
		}
		if o.Codes != nil {
			row = append(row, joinInts(o.Codes))
		}
		if o.Mask != nil {
			row = append(row, strconv.Itoa(o.Mask.Area))
		}
		if path := found.maskFiles[i]; path != "" {
			row = append(row, path)
		}
		rows = append(rows, row)
	}
	return rows
}

// confidenceColumn formats a confidence for a table.
func confidenceColumn(c *float64) string {
	if c == nil {
		return ""
	}
	return strconv.FormatFloat(*c, 'f', 4, 64)
}

func joinInts(values []int) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = strconv.Itoa(v)
	}
	return strings.Join(texts, ",")
}
