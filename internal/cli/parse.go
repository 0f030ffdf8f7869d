package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/draw"
	"paligemma/internal/quote"
)

// What parse accepts: bytes of a line, without its end, and the longer side of an
// image in pixels.
const (
	maxLine = 1 << 20
	maxSide = 1 << 30
)

// errLongLine says that a line was skipped.
var errLongLine = fmt.Errorf("more than the limit of %d bytes", maxLine)

type parseOptions struct {
	objectOptions
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
` + tableHelp + `

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
		Args: argsBetween(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runParse(cmd.Context(), o, args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Size, "size", "", "the size of the image in pixels, `WxH`")
	f.StringVar(&o.Image, "image", "", "the image that the text is about, a `FILE`")
	o.limits.flags(f)
	f.IntVarP(&o.Threads, "threads", "t", 0, "`N` CPU threads for masks (default: the physical cores available)")
	o.maskFlags(f)
	o.drawFlags(f, "draw the objects on --image, into the `FILE` .png or .jpg")
	return cmd
}

// parsing is a run of parse.
type parsing struct {
	*app
	finder *finder
	at     sight
	image  string // the path of --image
	p      *printer

	warnings []string // of the image
}

func (o *parseOptions) check() error {
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
	case o.Draw != "" && o.Image == "":
		return usageError{errors.New("--draw needs --image: what is to be drawn on?")}
	case o.MaskDir != "" && o.MaskDecoder == "":
		return usageError{errors.New("--mask-dir needs --mask-decoder FILE: vae-oid.npz, or a GGUF that has the decoder")}
	}
	if o.Draw != "" {
		if _, err := draw.FormatOf(o.Draw); err != nil {
			return usageError{fmt.Errorf("--draw %w", err)}
		}
	}
	return nil
}

func (a *app) runParse(ctx context.Context, o *parseOptions, args []string) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	run := &parsing{app: a, image: o.Image, at: sight{name: "mask"}}
	if o.Image != "" {
		err = run.openImage(ctx, o)
	} else {
		run.at.size, err = parseSize(o.Size)
	}
	if err != nil {
		return err
	}
	run.finder = &finder{a: a, out: newOutputs(o.Overwrite, []string{o.Image}), maskDir: o.MaskDir}
	if o.Draw != "" {
		if err := run.finder.out.check(o.Draw); err != nil {
			return err
		}
	}
	if o.MaskDir != "" {
		if err := run.finder.out.checkMaskDir(o.MaskDir, []string{run.at.name}); err != nil {
			return err
		}
	}
	if o.MaskDecoder != "" {
		if run.finder.decoder, err = openMaskDecoder(o.MaskDecoder, o.Threads); err != nil {
			return err
		}
		defer run.finder.decoder.Close()
	}
	if err := run.finder.makeFolders(); err != nil {
		return err
	}
	run.p = a.newPrinter(len(args) == 0 || args[0] == stdinName)
	if run.p.many {
		err = run.lines(ctx)
	} else {
		run.at.shown = "text"
		err = run.text(ctx, args[0], 0)
	}
	run.finder.tellDropped()
	if err = errors.Join(err, run.p.close()); err != nil || o.Draw == "" {
		return err
	}
	return run.finder.out.picture(o.Draw, run.at.draw)
}

// openImage takes the size, the name and the picture to draw on from --image.
func (run *parsing) openImage(ctx context.Context, o *parseOptions) error {
	data, lim, err := run.readImage(ctx, o.Image, o.limits)
	if err != nil {
		return imageError{fmt.Errorf("%s: %w", o.Image, err)}
	}
	img, warnings, err := canvas(data, lim)
	if err != nil {
		return imageError{fmt.Errorf("%s: %w", o.Image, err)}
	}
	run.warnings = warnings
	run.logWarnings(o.Image, warnings)
	run.at.size, run.at.name = img.Bounds().Size(), outputNames([]string{o.Image})[0]
	if o.Draw != "" {
		run.at.draw = img
	}
	return nil
}

// lines answers each line of standard input as it comes.
func (run *parsing) lines(ctx context.Context) error {
	name := run.at.name
	failed, total := 0, 0
	for line := range scanLines(ctx, run.In) {
		total = line.number
		switch {
		case errors.Is(line.err, errLongLine):
			failed++
			if err := run.fail(line); err != nil {
				return err
			}
			continue
		case line.err != nil:
			return line.failure()
		}
		run.at.shown = fmt.Sprintf("line %d", line.number)
		run.at.name = fmt.Sprintf("%s-line%d", name, line.number)
		if err := run.text(ctx, line.text, line.number); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil || failed == 0 {
		return err
	}
	return partlyError{failed, total, "lines"}
}

// fail tells of a line that cannot be read, and puts it among the results.
func (run *parsing) fail(l line) error {
	err := l.failure()
	run.complain(err)
	if run.p.format == formatText {
		return nil
	}
	return run.p.object(Result{Image: run.image, Line: l.number, Task: "parse", Error: oneLine(err.Error())})
}

// text prints the objects of a text.
func (run *parsing) text(ctx context.Context, text string, line int) error {
	objects, err := run.finder.find(ctx, text, run.at)
	if err != nil {
		return err
	}
	if run.p.format == formatText {
		return run.p.table("", objects.rows)
	}
	return run.p.object(Result{
		Image: run.image, Warnings: run.warnings, Line: line, Task: "parse", Text: &text,
		Boxes: &objects.boxes, Masks: &objects.masks,
		Dropped: &objects.dropped, DroppedCount: objects.droppedCount,
	})
}

// parseSize reads WxH.
func parseSize(text string) (image.Point, error) {
	w, h, ok := strings.Cut(strings.ToLower(text), "x")
	width, err1 := strconv.Atoi(w)
	height, err2 := strconv.Atoi(h)
	if !ok || err1 != nil || err2 != nil || width < 1 || height < 1 {
		return image.Point{}, usageError{fmt.Errorf("--size %s: want the width and height in pixels, such as 640x480", quote.Short(text))}
	}
	if max(width, height) > maxSide {
		return image.Point{}, usageError{fmt.Errorf("--size %s: a side is longer than %d pixels", quote.Short(text), maxSide)}
	}
	return image.Pt(width, height), nil
}

// line is a line of input, or the reason why there is none: after errLongLine
// others follow.
type line struct {
	number int // from 1
	text   string
	err    error
}

// failure returns the error with its place.
func (l line) failure() error { return fmt.Errorf("standard input: line %d: %w", l.number, l.err) }

// scanLines reads lines of up to maxLine bytes until the end of r or of ctx.
func scanLines(ctx context.Context, r io.Reader) func(yield func(line) bool) {
	return func(yield func(line) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		lines := make(chan line)
		go func() { // a read cannot be interrupted; it is left behind
			defer close(lines)
			buf := bufio.NewReaderSize(r, 64<<10)
			for n := 1; ; n++ {
				text, err := readLine(buf)
				if errors.Is(err, io.EOF) {
					return
				}
				select {
				case lines <- line{n, text, err}:
				case <-ctx.Done():
					return
				}
				if err != nil && !errors.Is(err, errLongLine) {
					return
				}
			}
		}()
		for {
			select {
			case l, ok := <-lines:
				if !ok || !yield(l) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// readLine reads a line and returns it without its end, which a last line may
// lack. It reads to the end of a line that is too long, without holding it.
func readLine(r *bufio.Reader) (string, error) {
	var text []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if !long {
			text = append(text, part...)
		}
		if len(text) > maxLine+len("\r\n") {
			text, long = nil, true
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (long || len(text) > 0):
		case errors.Is(err, io.EOF):
			return "", io.EOF
		case err != nil:
			return "", cause(err)
		}
		text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		if long || len(text) > maxLine {
			return "", errLongLine
		}
		return string(text), nil
	}
}
