package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/engine"
	"paligemma/internal/preview"
	"paligemma/internal/quote"
	"paligemma/internal/units"
)

const tableHelp = `
Each object is a line of fields with tabs between them: its label and its box,
x0 y0 x1 y1 in pixels of the upright image, and with --scores its confidence. A
mask adds its 16 codes, then, where it was decoded, its area in pixels and its
file. With more than one image the path comes first. In a field backslash, tab,
newline and carriage return are escaped as \\, \t, \n and \r.`

const boxFormatsHelp = `
Other programs read --format csv (a header, then a line for each object), coco (one
object with images, annotations and categories, as pycocotools loads it) and yolo
(a line "class x y width height" for each object, between 0 and 1, x and y being its
middle). With --output FILE.json coco is the results for COCO files, with their ids.`

const labelDirHelp = ` With --scores yolo has the confidence, too, and with several
images it needs --label-dir: a file of labels for each image, and classes.txt.`

const drawUsage = "draw the objects into `OUT`: a .png or .jpg, a folder, a pattern in whose name {} stands for the image's, or - for standard output, without the table"

// objectOptions are the flags of detect, segment and parse: what becomes of the
// objects in a text.
type objectOptions struct {
	Draw        string
	MaskDir     string
	MaskDecoder string
	LabelDir    string
	Preview     bool
	Overwrite   bool
}

func (o *objectOptions) maskFlags(f *pflag.FlagSet) {
	f.StringVar(&o.MaskDir, "mask-dir", "", "write the mask of each object as a PNG into the folder `DIR`")
	o.maskDecoderFlag(f)
}

func (o *objectOptions) maskDecoderFlag(f *pflag.FlagSet) {
	f.StringVar(&o.MaskDecoder, "mask-decoder", "", "decode masks with `FILE`: vae-oid.npz, or a GGUF that has the decoder")
}

func (o *objectOptions) drawFlags(f *pflag.FlagSet, usage string) {
	f.StringVar(&o.Draw, "draw", "", usage)
	f.BoolVar(&o.Preview, "preview", false, "show the drawing in a terminal that can (kitty's protocol, iTerm2's or sixels)")
}

func (o *objectOptions) labelFlag(f *pflag.FlagSet) {
	f.StringVar(&o.LabelDir, "label-dir", "", "with --format yolo: write a file of labels for each image, and classes.txt, into the folder `DIR`")
}

// check settles what of the results goes to standard output.
func (o *objectOptions) check(a *app, f *pflag.FlagSet) error {
	toFiles := a.common.Format == formatYOLO && o.LabelDir != ""
	switch {
	case o.LabelDir != "" && !toFiles:
		if typed(f, "label-dir") {
			return usageError{errors.New("--label-dir needs --format yolo")}
		}
		o.LabelDir = ""
	case o.Draw == stdinName && a.OutTTY:
		return usageError{errors.New("--draw - writes a PNG, and standard output is a terminal: add > boxes.png, or show it with --preview")}
	case o.Draw == stdinName && a.common.Format != formatText && !toFiles:
		if typed(f, "format") {
			return usageError{fmt.Errorf("--draw - and --format %s both write to standard output: draw into a file", a.common.Format)}
		}
		a.common.Format = formatText
	}
	return nil
}

// locateOptions are the arguments and flags of detect and segment.
type locateOptions struct {
	ask     askOptions
	what    string // to look for
	objects objectOptions
}

// parse takes the arguments: what to look for, and the images.
func (o *locateOptions) parse(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usageError{errors.New("what to look for is missing")}
	case args[0] == "":
		return usageError{errors.New("what to look for is empty")}
	case len(args) == 1 && o.ask.image.FilesFrom == "":
		return usageError{fmt.Errorf("IMAGE is missing: %s %s IMAGE... (what to look for comes first)", cmd.Name(), quote.Short(args[0]))}
	}
	o.what, o.ask.images = args[0], args[1:]
	return nil
}

// runLocate asks for objects: masks says whether for their masks, too.
func (a *app) runLocate(cmd *cobra.Command, o *locateOptions, prompt func(string) string, masks bool) error {
	if err := o.ask.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	if err := o.objects.check(a, cmd.Flags()); err != nil {
		return err
	}
	if o.ask.sampling.NumReturn > 1 && !a.common.json() {
		if typed(cmd.Flags(), "num-return") {
			return usageError{errors.New("--num-return needs --format json or jsonl here: the table is of the best text")}
		}
		o.ask.sampling.NumReturn = 1
	}
	q, err := a.newImageRequest(cmd.Context(), cmd.Name(), []string{prompt(o.what)}, o.ask)
	if err != nil {
		return err
	}
	o.objects.Overwrite = o.ask.batch.Overwrite
	q.wrap = prompt
	q.objects, q.masks, q.labels = &o.objects, masks, askedLabels(o.what)
	return a.execute(cmd.Context(), q)
}

// newLocator makes the locator of a request. It settles where pictures go, and
// finds what is in the way, before there is any work.
func (a *app) newLocator(q request) (*locator, error) {
	paths := make([]string, len(q.items))
	for i, it := range q.items {
		if len(it.sources) > 0 { // --requests may be without
			paths[i] = it.sources[0].path
		}
	}
	l := &locator{app: a, options: *q.objects, files: newFiles(q.objects.Overwrite, paths), noted: true, targets: map[*item]target{}}
	names, drawings := fileNames(paths), make([]string, len(paths))
	for i := range q.items {
		if q.items[i].streams() {
			names[i] += "-" + streamPlace
		}
	}
	var err error
	if l.options.Draw != "" {
		if drawings, l.folder, err = drawingPaths(l.options.Draw, names); err != nil {
			return nil, err
		}
		for i, path := range drawings {
			if q.items[i].streams() && !strings.Contains(path, streamPlace) {
				return nil, usageError{fmt.Errorf("--draw %s is one file, but --stream-images gives several: name a folder, or a pattern such as drawn/%s.jpg", l.options.Draw, namePlace)}
			}
			if err := l.files.check(path); err != nil {
				return nil, err
			}
		}
	}
	if err := l.prepareLabels(names, q.labels); err != nil {
		return nil, err
	}
	l.preview = a.openPreview(&l.options)
	for i := range q.items {
		l.targets[&q.items[i]] = target{shown: paths[i], name: names[i], number: i + 1, drawing: drawings[i]}
	}
	if l.options.MaskDir != "" {
		err = l.files.checkMaskDir(l.options.MaskDir, names)
	}
	return l, err
}

// prepareLabels makes the writer of boxes, and finds what is in the way of its files.
func (l *locator) prepareLabels(names, labels []string) error {
	l.boxes = l.app.newBoxWriter(l.options, l.files, labels)
	switch {
	case l.options.LabelDir != "":
		return l.files.checkLabelDir(l.options.LabelDir, names)
	case l.app.common.Format == formatYOLO && len(names) > 1:
		return usageError{fmt.Errorf("--format yolo has no place for the names of %s images: add --label-dir DIR, which gets a file for each", units.Number(len(names)))}
	}
	return nil
}

// noPictures says why a preview is not shown.
const noPictures = "this terminal shows no pictures, as far as it says"

// openPreview opens the terminal that --preview asks for; nil: there is nothing to
// show pictures in.
func (a *app) openPreview(o *objectOptions) *preview.Terminal {
	switch {
	case !o.Preview || !a.OutTTY || a.screen == nil:
		return nil
	case a.common.Format != formatText:
		a.note("--preview shows pictures next to the table only, not in --format %s", a.common.Format)
		return nil
	}
	t, ok := preview.Open(a.screen)
	if !ok {
		a.note(noPictures + ": --draw FILE makes a file of the drawing")
		return nil
	}
	return t
}

// open opens the mask decoder, if masks are wanted, and makes the folders for
// pictures.
func (l *locator) open(e *engine.Engine, masks bool) error {
	if masks {
		if err := l.openMasks(e); err != nil {
			return err
		}
	}
	return l.makeFolders()
}

// openMasks opens the mask decoder, or notes that there is none, at the first call.
func (l *locator) openMasks(e *engine.Engine) (err error) {
	if l.asked {
		return nil
	}
	l.asked = true
	l.masks, err = openMasks(e, l.options.MaskDecoder)
	switch {
	case err != nil:
		return err
	case l.masks == nil && l.options.MaskDir != "":
		return &engine.ModelError{Err: fmt.Errorf("%s has no mask decoder, so --mask-dir would stay empty: %s", e.Path(), addDecoder)}
	case l.masks == nil:
		l.app.note("%s has no mask decoder, so masks stay codes: %s", e.Path(), addDecoder)
	}
	return nil
}
