package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"paligemma/internal/result"
	"paligemma/internal/task"
)

// lookOptions are the arguments and flags of look.
type lookOptions struct {
	ask     askOptions
	objects objectOptions
}

func (a *app) lookCommand() *cobra.Command {
	o := &lookOptions{}
	cmd := &cobra.Command{
		Use:   "look IMAGE...",
		Short: "Ask about images, a line at a time",
		Long: `Look at images and answer one line after the other. An image is encoded once; a
line is a question or a task, asked of each image:

    what color is the car?     the answer, as it is written
    caption, cap, describe     a description; caption de: in German
    detect cat ; dog           boxes, as of paligemma detect
    segment cat                boxes and masks, as of paligemma segment
    ocr                        the text in the image

Any other line is a prompt, too. Lines that begin with a colon are commands:

` + lookCommandHelp() + `
On a terminal lines can be edited, and the arrows up and down bring back earlier
ones; they are kept in $XDG_STATE_HOME/paligemma/history (default:
~/.local/state). Ctrl-C stops an answer, Ctrl-D ends. Without a terminal the lines
of standard input are answered, without prompts, a line of text each; exit code 3
then says that some failed.
` + imageKinds + ` Standard input cannot be an image here.`,
		Example: `  paligemma look photo.jpg -m model.gguf
  paligemma look before.jpg after.jpg
  printf '%s\n' caption 'detect cat' ':draw cat.png' | paligemma look photo.jpg`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ask.images = args
			return a.runLook(cmd, o)
		},
	}
	o.ask.model.flags(cmd.Flags())
	o.ask.image.flags(cmd.Flags())
	o.ask.sampling.flags(cmd.Flags(), task.MaxTokensObjects)
	o.ask.sampling.repeatFlag(cmd.Flags())
	o.objects.maskDecoderFlag(cmd.Flags())
	return cmd
}

// maxLooked bounds the images of a session: their files and features stay in memory.
const maxLooked = 64

var (
	errLookStdin = errors.New("standard input (-) holds the questions: name a file")
	errTooMany   = fmt.Errorf("more than %d images: look keeps all of them in memory", maxLooked)
)

func (a *app) runLook(cmd *cobra.Command, o *lookOptions) error {
	if err := o.ask.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	if o.ask.image.FilesFrom == stdinName {
		return usageError{errLookStdin}
	}
	q, err := a.newImageRequest(cmd.Context(), cmd.Name(), nil, o.ask)
	if err != nil {
		return err
	}
	if err := checkLooked(q.items); err != nil {
		return usageError{err}
	}
	q.keep = true
	return a.look(cmd.Context(), q, o)
}

// checkLooked finds items that a session does not take.
func checkLooked(items []item) error {
	if len(items) > maxLooked {
		return errTooMany
	}
	for _, it := range items {
		if it.sources[0].path == stdinName {
			return errLookStdin
		}
	}
	return nil
}

// look opens the model, encodes the images and answers lines until they end.
func (a *app) look(ctx context.Context, q request, o *lookOptions) (err error) {
	if err := q.hopeless(); err != nil {
		return err
	}
	s := &session{run: run{app: a, request: q}, recursive: o.ask.image.Recursive, decoder: o.objects.MaskDecoder}
	s.reader = a.newReader(ctx, q.sources(), q.limits)
	defer func() { s.reader.close() }()
	if s.engine, err = a.openModel(q.model); err != nil {
		return err
	}
	defer s.engine.Close()
	s.reader.open(s.engine)
	defer func() {
		if s.masks != nil {
			s.masks.Close()
		}
	}()
	s.printer = a.newPrinter(layout{many: true})
	defer func() { err = errors.Join(err, s.printer.close()) }()
	if s.pictures, err = s.encode(ctx, q.items); err != nil {
		return err
	}
	return s.converse(ctx)
}

// converse answers the lines of a terminal, or of another standard input.
func (s *session) converse(ctx context.Context) error {
	in, ok := s.In.(*os.File)
	if !ok || !isTTY(in) || !s.ErrTTY {
		return s.loop(ctx, scanLines(ctx, s.In))
	}
	s.interactive = true
	defer s.interrupts.take(s.interrupt, syscall.SIGINT)()
	past := openHistory(os.Getenv)
	defer past.close()
	s.note("%s: type a question or a task; :help lists what there is, Ctrl-D ends", s.describe())
	return s.loop(ctx, newEditor(in, s.bars, past).lines(ctx))
}

// picture is an image of a session.
type picture struct {
	source source
	images []*Image // the one
}

// encode reads and encodes images. Where some cannot be read, the others are the
// session's; the error is that of the last one where there are none.
func (s *session) encode(ctx context.Context, items []item) (pictures []picture, err error) {
	for i := range items {
		images, failure := s.encodeImages(ctx, &items[i])
		var bad result.ImageError
		switch {
		case failure == nil:
			pictures = append(pictures, picture{items[i].sources[0], images})
		case !errors.As(failure, &bad):
			return nil, failure
		case len(items) == 1:
			return nil, failure
		default:
			s.done++
			s.fail(failure)
			err = failure
		}
	}
	if len(pictures) == 0 {
		return nil, result.ImageError{Err: fmt.Errorf("no image can be read: %w", errors.Unwrap(err))}
	}
	return pictures, nil
}

// openDecoder gives a locator the mask decoder, which is opened when masks are first
// asked for.
func (s *session) openDecoder(l *locator, masks bool) error {
	if !masks {
		return l.open(s.engine, false)
	}
	if s.opened {
		l.masks = s.masks
		return l.open(s.engine, false)
	}
	if err := l.open(s.engine, true); err != nil {
		return err
	}
	s.opened, s.masks = true, l.masks
	return nil
}
