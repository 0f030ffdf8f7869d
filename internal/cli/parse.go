package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/ggml"
	"paligemma/internal/preprocess"
	"paligemma/internal/task"
)

// maxLine bounds a line that parse reads, in bytes.
const maxLine = 1 << 20

type parseOptions struct {
	objectOptions
	Size      string
	Image     string
	MaxPixels int64
	Threads   int
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

Text without objects gives no line, and in JSON empty lists. With standard input
JSON has the number of the line; use jsonl to get each result as it comes.
A --draw of several lines shows the objects of all of them.`,
		Example: `  paligemma parse "<loc0256><loc0128><loc0768><loc0896> cat" --size 640x480
  other-runner photo.jpg | paligemma parse --image photo.jpg --draw boxes.png --format jsonl`,
		Args: argsBetween(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runParse(cmd.Context(), o, args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Size, "size", "", "the size of the image in pixels, `WxH`")
	f.StringVar(&o.Image, "image", "", "the image that the text is about, a `FILE`")
	f.Int64Var(&o.MaxPixels, "max-pixels", preprocess.DefaultLimits.MaxPixels, "refuse images of more than `N` pixels")
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
}

func (o *parseOptions) check() error {
	images := imageOptions{MaxPixels: o.MaxPixels}
	if err := cmp.Or(checkThreads(o.Threads), images.check()); err != nil {
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
		if _, err := task.FormatOf(o.Draw); err != nil {
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
		engine, err := ggml.NewEngine(ggml.Options{Device: "cpu", Threads: o.Threads})
		if err != nil {
			return err
		}
		defer engine.Close()
		if run.finder.decoder, err = openMaskDecoder(o.MaskDecoder, engine); err != nil {
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
	if err = errors.Join(err, run.p.close()); err != nil || o.Draw == "" {
		return err
	}
	return run.finder.out.picture(o.Draw, run.at.draw)
}

// openImage takes the size, the name and the picture to draw on from --image.
func (run *parsing) openImage(ctx context.Context, o *parseOptions) error {
	data, err := run.readAll(ctx, o.Image, preprocess.DefaultLimits.MaxBytes)
	if err != nil {
		return imageError{fmt.Errorf("%s: %w", o.Image, err)}
	}
	img, err := canvas(data, imageOptions{MaxPixels: o.MaxPixels})
	if err != nil {
		return imageError{fmt.Errorf("%s: %w", o.Image, err)}
	}
	run.at.size, run.at.name = img.Bounds().Size(), outputNames([]string{o.Image})[0]
	if o.Draw != "" {
		run.at.draw = img
	}
	return nil
}

// lines answers each line of standard input as it comes.
func (run *parsing) lines(ctx context.Context) error {
	name := run.at.name
	for line := range scanLines(ctx, run.In) {
		if line.err != nil {
			return fmt.Errorf("standard input: line %d: %w", line.number, line.err)
		}
		run.at.shown = fmt.Sprintf("line %d", line.number)
		run.at.name = fmt.Sprintf("%s-line%d", name, line.number)
		if err := run.text(ctx, line.text, line.number); err != nil {
			return err
		}
	}
	return ctx.Err()
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
		Image: run.image, Line: line, Task: "parse", Text: &text,
		Boxes: &objects.boxes, Masks: &objects.masks,
	})
}

// parseSize reads WxH.
func parseSize(text string) (image.Point, error) {
	w, h, ok := strings.Cut(strings.ToLower(text), "x")
	width, err1 := strconv.Atoi(w)
	height, err2 := strconv.Atoi(h)
	if !ok || err1 != nil || err2 != nil || width < 1 || height < 1 {
		return image.Point{}, usageError{fmt.Errorf("--size %q: want the width and height in pixels, such as 640x480", text)}
	}
	if width > task.MaxMaskPixels/height {
		return image.Point{}, usageError{fmt.Errorf("--size %q: more than %d pixels", text, task.MaxMaskPixels)}
	}
	return image.Pt(width, height), nil
}

// line is a line of input, or the reason why there are no more.
type line struct {
	number int // from 1
	text   string
	err    error
}

// scanLines reads lines of up to maxLine bytes until the end of r or of ctx.
func scanLines(ctx context.Context, r io.Reader) func(yield func(line) bool) {
	return func(yield func(line) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		lines := make(chan line)
		send := func(l line) bool {
			select {
			case lines <- l:
				return true
			case <-ctx.Done():
				return false
			}
		}
		go func() { // a read cannot be interrupted; it is left behind
			defer close(lines)
			scan := bufio.NewScanner(r)
			scan.Buffer(nil, maxLine+2) // the end of the line counts there
			n := 1
			for scan.Scan() && len(scan.Bytes()) <= maxLine {
				if !send(line{number: n, text: scan.Text()}) {
					return
				}
				n++
			}
			err := cause(scan.Err())
			if errors.Is(err, bufio.ErrTooLong) || len(scan.Bytes()) > maxLine {
				err = fmt.Errorf("more than the limit of %d bytes", maxLine)
			}
			if err != nil {
				send(line{number: n, err: err})
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
