package cli

import (
	"context"
	"errors"
	"fmt"
	"image"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/draw"
	"paligemma/internal/drawing"
	"paligemma/internal/result"
	"paligemma/internal/task"
)

type parseOptions struct {
	objects objectOptions
	limits  limitOptions
	Size    string
	Image   string
	Threads int
}

func (a *app) parseCommand() *cobra.Command {
	o := &parseOptions{}
	cmd := &cobra.Command{
		Use:   "parse [TEXT] --size WxH",
		Short: "Read boxes and masks in the text of any PaliGemma",
		Long: `Read the objects in text that a PaliGemma wrote: <loc0256><loc0128>… cat. The text
is TEXT, or comes from standard input, where each line is a text of its own and
is answered at once: parse is a filter. No model is needed; --mask-decoder decodes
the masks of <seg000>….

The size of the image gives the boxes in pixels: --size, or --image, which is the
image itself and can be drawn on.
` + tableHelp + "\n" + boxFormatsHelp + `

Text without objects gives no line, and in JSON empty lists. What is left out of
a text (a group of location tokens that is not whole, text without a box) is
counted on standard error and listed in JSON ("dropped"). With standard input
JSON has the number of the line; use jsonl to get each result as it comes. A line
of more than a megabyte is an error of its own: the others are answered, and the
exit code is 3. A --draw of several lines shows the objects of all of them.

Masks are decoded for images of up to 268 megapixels: of one text the first 512,
and no more than a gigapixel of them. Boxes have no such limit.`,
		Example: `  paligemma parse "<loc0256><loc0128><loc0768><loc0896> cat" --size 640x480
  other-runner photo.jpg | paligemma parse --image photo.jpg --draw boxes.png --format jsonl`,
		Args:        argsBetween(0, 1, ""),
		Annotations: map[string]string{givesBoxes: "yes"},
		RunE:        func(cmd *cobra.Command, args []string) error { return a.runParse(cmd, o, args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Size, "size", "", "the size of the image in pixels, `WxH`")
	f.StringVar(&o.Image, "image", "", "the image that the text is about, a `FILE`")
	o.limits.flags(f)
	f.IntVarP(&o.Threads, "threads", "t", 0, "`N` CPU threads for masks (default: the physical cores available)")
	o.objects.maskFlags(f)
	f.BoolVar(&o.objects.Overwrite, "overwrite", false, "replace files that exist (but never an input image)")
	o.objects.drawFlags(f, "draw the objects on --image, into the `FILE` .png or .jpg, or - for standard output, without the table")
	exclude(f, "size", "image")
	needs(f, "draw", "image")
	needs(f, "preview", "image")
	needs(f, "mask-dir", "mask-decoder")
	return cmd
}

func (o *parseOptions) check(a *app, f *pflag.FlagSet) error {
	if err := checkThreads(o.Threads); err != nil {
		return err
	}
	switch {
	case o.Size == "" && o.Image == "":
		return usageError{errors.New("--size is missing: the width and height of the image, such as 640x480 (or --image FILE)")}
	case o.Size != "" && o.Image != "":
		return usageError{errors.New("--size and --image exclude each other: the image knows its size")}
	case o.Image == stdinName:
		return usageError{errors.New("--image -: the image must be a file")}
	case o.objects.Draw != "" && o.Image == "":
		return usageError{errors.New("--draw needs --image: what is to be drawn on?")}
	case o.objects.Preview && o.Image == "":
		return usageError{errors.New("--preview needs --image: what is to be shown?")}
	case o.objects.MaskDir != "" && o.objects.MaskDecoder == "":
		return usageError{errors.New("--mask-dir needs --mask-decoder FILE: vae-oid.npz, or a GGUF that has the decoder")}
	}
	if err := checkDrawing(o.objects.Draw); err != nil {
		return err
	}
	return o.objects.check(a, f)
}

// checkDrawing makes sure that --draw names a picture, standard output or nothing.
func checkDrawing(path string) error {
	if path == "" || path == stdinName {
		return nil
	}
	if _, err := draw.FormatOf(path); err != nil {
		return usageError{fmt.Errorf("--draw %w", err)}
	}
	return nil
}

// parseRun is a run of parse.
type parseRun struct {
	*app
	locator  *locator
	target   target // of each text, but for its name
	image    string // the path of --image
	warnings []string
	printer  *printer
}

func (a *app) runParse(cmd *cobra.Command, o *parseOptions, args []string) (err error) {
	ctx := cmd.Context()
	if err := o.check(a, cmd.Flags()); err != nil {
		return err
	}
	r := &parseRun{
		app: a, image: o.Image, target: target{name: "mask", number: 1, drawing: o.objects.Draw},
		locator: &locator{app: a, options: o.objects, files: newFiles(o.objects.Overwrite, []string{o.Image})},
	}
	r.locator.boxes, r.locator.preview = a.newBoxWriter(o.objects, r.locator.files, nil), a.openPreview(&o.objects)
	if o.Image != "" {
		err = r.openImage(ctx, o)
	} else {
		r.target.size, err = parseSize(o.Size)
	}
	if err != nil {
		return err
	}
	if err := r.prepare(o); err != nil {
		return err
	}
	defer r.locator.close()
	many := len(args) == 0 || args[0] == stdinName
	r.printer = a.newPrinter(layout{many: many, lines: many})
	if many {
		err = r.lines(ctx)
	} else {
		err = r.text(ctx, args[0], 0)
	}
	if err = errors.Join(err, r.printer.close(), r.locator.closeBoxes()); err != nil {
		return err
	}
	return r.locator.finish(r.target)
}

// prepare finds what is in the way of files, opens the mask decoder and makes the
// folder for masks.
func (r *parseRun) prepare(o *parseOptions) (err error) {
	if o.objects.Draw != "" {
		if err := r.locator.files.check(o.objects.Draw); err != nil {
			return err
		}
		if o.objects.Draw != stdinName {
			r.locator.folder = filepath.Dir(o.objects.Draw)
		}
	}
	if o.objects.MaskDir != "" {
		if err := r.locator.files.checkMaskDir(o.objects.MaskDir, []string{r.target.name}); err != nil {
			return err
		}
	}
	if o.objects.MaskDecoder != "" {
		if r.locator.masks, err = openMasksAlone(o.objects.MaskDecoder, o.Threads); err != nil {
			return err
		}
	}
	if err = r.locator.makeFolders(); err != nil {
		r.locator.close()
	}
	return err
}

// openImage takes the size, the name and the picture to draw on from --image.
func (r *parseRun) openImage(ctx context.Context, o *parseOptions) error {
	data, lim, err := r.readImage(ctx, source{path: o.Image}, o.limits)
	if err != nil {
		return result.ImageError{Err: fmt.Errorf("%s: %w", o.Image, err)}
	}
	canvas, err := drawing.New(data, lim)
	if err != nil {
		return result.ImageError{Err: fmt.Errorf("%s: %w", o.Image, err)}
	}
	r.warnings = canvas.Warnings
	r.logWarnings(o.Image, r.warnings)
	r.target.size, r.target.name = canvas.Image.Bounds().Size(), fileNames([]string{o.Image})[0]
	if r.locator.pictures() {
		r.target.canvas = canvas
	}
	return nil
}

// lines answers each line of standard input as it comes.
func (r *parseRun) lines(ctx context.Context) error {
	failed, total := 0, 0
	r.noteWaiting(stdinName)
	for line := range scanLines(ctx, r.In) {
		total = line.number
		switch {
		case errors.Is(line.err, result.ErrTooLong):
			failed++
			if err := r.printFailure(line); err != nil {
				return err
			}
			continue
		case line.err != nil:
			return line.failure()
		}
		if err := r.text(ctx, line.text, line.number); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil || failed == 0 {
		return err
	}
	return partlyError{failed, total, "lines"}
}

// printFailure says that a line cannot be read, and puts it among the results.
func (r *parseRun) printFailure(l line) error {
	err := l.failure()
	r.complain(err)
	if !r.common.json() {
		return nil
	}
	res := result.Result{Image: r.image, Line: l.number, Task: "parse"}
	res.Fail(err)
	return r.printer.object(res)
}

// text prints the objects of a text: that of a line, or of the argument if line
// is 0.
func (r *parseRun) text(ctx context.Context, text string, line int) error {
	t := r.target
	t.shown = "text"
	if line > 0 {
		t.shown = fmt.Sprintf("line %d", line)
		t.name, t.line = fmt.Sprintf("%s-line%d", t.name, line), line
	}
	found, err := r.locator.locate(ctx, text, t, nil)
	if err != nil {
		return err
	}
	if done, err := r.locator.print(r.printer, r.image, t, &found, false); done || err != nil {
		return err
	}
	res := result.Result{
		Image: r.image, Width: t.size.X, Height: t.size.Y, Warnings: r.warnings, Line: line, Task: "parse", Text: &text,
	}
	res.AddObjects(&found.Objects, found.maskFiles, true)
	return r.printer.object(res)
}

// parseSize reads --size.
func parseSize(text string) (image.Point, error) {
	w, h, err := task.ParseSize(text)
	if err != nil {
		return image.Point{}, usageError{fmt.Errorf("--size %w", err)}
	}
	return image.Pt(w, h), nil
}
