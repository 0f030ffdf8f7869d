package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"paligemma/internal/quote"
	"paligemma/internal/task"
)

const tableHelp = `
Each object is a line of fields with tabs between them: its label and its box,
x0 y0 x1 y1 in pixels of the upright image, and with --scores its confidence. A
mask adds its 16 codes, then, where
it was decoded, its area in pixels and its file. With more than one image the
path comes first. In a field backslash, tab, newline and carriage return are
escaped as \\, \t, \n and \r.`

const drawUsage = "draw the objects into `OUT`: a .png or .jpg, a folder, or a pattern in whose name {} stands for the image's"

type locateOptions struct {
	asking
	finding finding
}

func (a *app) detectCommand() *cobra.Command {
	o := &locateOptions{}
	cmd := &cobra.Command{
		Use:   "detect OBJECTS IMAGE...",
		Short: "Find objects in images and give their boxes",
		Long: `Find objects in each image. OBJECTS are what to look for, several with " ; "
between them; they come before the images.
` + imageKinds + "\n" + tableHelp + `

A group of location tokens that is not whole is left out, and so is text without
a box; a line on standard error counts them, -v and JSON list them. Small
checkpoints are prone to write the same object until --max-tokens ends it:
--stop-repeats ends the text there, and leaves out the object that is a repeat.`,
		Example: `  paligemma detect "cat ; dog" photo.jpg -m model.gguf --draw boxes.png
  paligemma detect car 'street/*.jpg' --draw 'drawn/{}.jpg' --format jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.runLocate(cmd, o, args) },
	}
	askFlags(cmd, &o.asking, maxTokensObjects)
	o.sampling.repeatFlag(cmd.Flags())
	o.finding.drawFlags(cmd.Flags(), drawUsage)
	return cmd
}

func (a *app) segmentCommand() *cobra.Command {
	o := &locateOptions{finding: finding{segment: true}}
	cmd := &cobra.Command{
		Use:   "segment OBJECT IMAGE...",
		Short: "Find objects in images and give their masks",
		Long: `Find an object in each image and give its box and its mask. OBJECT comes before
the images.
` + imageKinds + "\n" + tableHelp + `

Masks are decoded by the decoder of PaliGemma's mask codec, vae-oid.npz. It is
in the model if that was made with convert --mask-decoder, or is given here with
--mask-decoder; without it there are boxes and codes. With --mask-dir the masks
are files, NAME-1.png, NAME-2.png and so on, white on black, as large as the
image.`,
		Example: `  paligemma segment cat photo.jpg -m model.gguf --mask-dir masks --draw overlay.png
  paligemma segment cat photo.jpg --mask-decoder vae-oid.npz --format json | jq '.masks[].rle'`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.runLocate(cmd, o, args) },
	}
	askFlags(cmd, &o.asking, maxTokensObjects)
	o.sampling.repeatFlag(cmd.Flags())
	o.finding.maskFlags(cmd.Flags())
	o.finding.drawFlags(cmd.Flags(), drawUsage)
	return cmd
}

func (a *app) runLocate(cmd *cobra.Command, o *locateOptions, args []string) error {
	if err := o.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	switch {
	case len(args) == 0:
		return usageError{errors.New("what to look for is missing")}
	case args[0] == "":
		return usageError{errors.New("what to look for is empty")}
	case len(args) == 1 && o.image.FilesFrom == "":
		return usageError{fmt.Errorf("IMAGE is missing: %s %s IMAGE... (what to look for comes first)", cmd.Name(), quote.Short(args[0]))}
	case o.sampling.NumReturn > 1 && a.common.Format == formatText:
		return usageError{errors.New("--num-return needs --format json or jsonl here: the table is of the best text")}
	}
	o.task, o.images, o.find = cmd.Name(), args[1:], &o.finding
	o.prompts = []string{task.Detect(args[0])}
	if o.finding.segment {
		o.prompts = []string{task.Segment(args[0])}
	}
	return a.ask(cmd.Context(), o.asking)
}

// planFinding settles where pictures go, and finds what is in the way, before
// there is any work.
func (q *inquiry) planFinding() error {
	if q.find == nil {
		return nil
	}
	paths := make([]string, len(q.views))
	for i, v := range q.views {
		if len(v.inputs) > 0 { // requests may be without
			paths[i] = v.inputs[0].path
		}
	}
	names := outputNames(paths)
	q.finder = &finder{a: q.app, out: newOutputs(q.find.Overwrite, paths), maskDir: q.find.MaskDir, scores: q.sampling.Scores, noted: true}
	for i := range q.views {
		q.views[i].name = names[i]
	}
	if q.find.Draw != "" {
		targets, folder, err := drawTargets(q.find.Draw, names)
		if err != nil {
			return err
		}
		for i, target := range targets {
			q.views[i].drawTo = target
			if err := q.finder.out.check(target); err != nil {
				return err
			}
		}
		q.finder.drawDir = folder
	}
	if q.find.MaskDir != "" {
		return q.finder.out.checkMaskDir(q.find.MaskDir, names)
	}
	return nil
}

// openFinding opens the mask decoder, if masks are wanted, and makes the folders
// for pictures. closeFinding undoes the former.
func (q *inquiry) openFinding() error {
	if q.find == nil {
		return nil
	}
	if q.find.segment {
		d, err := maskDecoder(q.e, q.find.MaskDecoder)
		switch {
		case err != nil:
			return err
		case d == nil && q.find.MaskDir != "":
			return modelError{fmt.Errorf("%s has no mask decoder, so there is nothing for --mask-dir: %s", q.e.Path(), addDecoder)}
		case d == nil:
			q.note("%s has no mask decoder, so masks stay codes: %s", q.e.Path(), addDecoder)
		}
		q.finder.decoder = d
	}
	return q.finder.makeFolders()
}

func (q *inquiry) closeFinding() {
	if q.finder == nil {
		return
	}
	q.finder.tellDropped()
	if q.finder.decoder != nil {
		q.finder.decoder.Close()
	}
}

// locate finds the objects in the text about a view, and draws them.
func (q *inquiry) locate(ctx context.Context, v *view, text string, rate rater) (found, error) {
	at := sight{shown: v.inputs[0].path, name: v.name, size: v.size, rate: rate}
	q.detail("%s: the model wrote %q", at.shown, text)
	if v.drawTo != "" {
		var err error
		if at.draw, _, err = canvas(v.data, q.app.limits(v.result.Image, q.image.limitOptions)); err != nil {
			return found{}, imageError{fmt.Errorf("%s: %w", at.shown, err)}
		}
	}
	objects, err := q.finder.find(ctx, text, at)
	if err != nil || v.drawTo == "" {
		return objects, err
	}
	return objects, q.finder.out.picture(v.drawTo, at.draw)
}

// makeFolders makes the folders for pictures.
func (f *finder) makeFolders() error {
	for flag, dir := range map[string]string{"mask-dir": f.maskDir, "draw": f.drawDir} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return fmt.Errorf("--%s %s: %w", flag, dir, cause(err))
		}
	}
	return nil
}

// table writes the objects of a result, a line each.
func (p *printer) table(path string, rows [][]string) error {
	for _, row := range rows {
		if err := p.row(path, row...); err != nil {
			return err
		}
	}
	return nil
}
