package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/nearest"
	"paligemma/internal/preview"
	"paligemma/internal/quote"
)

// lookCommand is a command of a session.
type lookCommand struct {
	name     string
	argument string // what follows the name; "": nothing
	does     string
	run      func(s *session, ctx context.Context, argument string) error
}

// lookCommands lists the commands of a session. Any beginning of a name that is of
// one command only will do.
func lookCommands() []lookCommand {
	return []lookCommand{
		{":help", "", "list what there is", (*session).help},
		{":draw", "FILE", "draw the last answer's objects: .png or .jpg", (*session).drawNew},
		{":draw!", "FILE", "the same, and replace a file that exists", (*session).drawOver},
		{":show", "", "show the drawing, in a terminal that can", (*session).show},
		{":image", "FILE", "ask about another image, or a folder or pattern", (*session).imageOf},
		{":add", "FILE", "ask about this image, too", (*session).addImage},
		{":quit", "", "end, as Ctrl-D does", (*session).end},
	}
}

// lookCommandHelp returns a line for each command.
func lookCommandHelp() string {
	var b strings.Builder
	for _, c := range lookCommands() {
		fmt.Fprintf(&b, "    %-26s %s\n", strings.TrimSpace(c.name+" "+c.argument), c.does)
	}
	return b.String()
}

// command carries out a line that begins with a colon.
func (s *session) command(ctx context.Context, text string) error {
	name, argument, _ := strings.Cut(strings.TrimSpace(text), " ")
	argument = strings.TrimSpace(argument)
	c, err := findLookCommand(name)
	switch {
	case err != nil:
		return err
	case c.argument == "" && argument != "":
		return fmt.Errorf("%s takes nothing after it, not %s", c.name, quote.Short(argument))
	case c.argument != "" && argument == "":
		return fmt.Errorf("%s needs the name of a file: %s %s", c.name, c.name, c.argument)
	}
	return c.run(s, ctx, argument)
}

// findLookCommand returns the command of a name or of a beginning of one.
func findLookCommand(name string) (lookCommand, error) {
	var found []lookCommand
	var names []string
	for _, c := range lookCommands() {
		if c.name == name {
			return c, nil
		}
		if name != ":" && strings.HasPrefix(c.name, name) {
			found = append(found, c)
		}
		names = append(names, c.name)
	}
	if len(found) == 1 || len(found) == 2 && found[1].name == found[0].name+"!" {
		return found[0], nil
	}
	if like := nearest.Word(name, names); like != "" {
		return lookCommand{}, fmt.Errorf("unknown command %s%s", quote.Short(name), nearest.DidYouMean(like))
	}
	return lookCommand{}, fmt.Errorf("unknown command %s: :help lists what there is", quote.Short(name))
}

// help prints what can be typed. It is an answer only to who types it.
func (s *session) help(context.Context, string) error {
	_, err := fmt.Fprint(s.Err, `A line is asked of the image: what color is the car?, caption, detect cat ; dog,
segment cat, ocr, or any prompt. Commands:

`+lookCommandHelp()+`
Ctrl-C stops an answer; the arrows up and down bring back earlier lines.
`)
	return err
}

func (s *session) end(context.Context, string) error {
	s.quit = true
	return nil
}

func (s *session) imageOf(ctx context.Context, name string) error  { return s.change(ctx, name, false) }
func (s *session) addImage(ctx context.Context, name string) error { return s.change(ctx, name, true) }

func (s *session) drawNew(ctx context.Context, file string) error {
	err := s.draw(ctx, objectOptions{Draw: file}, nil)
	if errors.Is(err, atomicfile.ErrExists) {
		return fmt.Errorf("a file of this name exists: :draw! %s replaces it", file)
	}
	return err
}

func (s *session) drawOver(ctx context.Context, file string) error {
	return s.draw(ctx, objectOptions{Draw: file, Overwrite: true}, nil)
}

func (s *session) show(ctx context.Context, _ string) error {
	if s.OutTTY && s.screen != nil {
		if t, ok := preview.Open(s.screen); ok {
			return s.draw(ctx, objectOptions{}, t)
		}
	}
	return errors.New(noPictures + ": :draw FILE makes a file of the drawing")
}

// draw draws the objects of the last answer: into files, and on a screen if there is
// one.
func (s *session) draw(ctx context.Context, o objectOptions, screen *preview.Terminal) error {
	if o.Draw == stdinName {
		return errors.New(":draw - has no place to draw to: name a .png or .jpg file")
	}
	if s.last == nil || s.last.request.objects == nil {
		return errors.New("the last answer has no objects to draw: ask for some, such as detect cat")
	}
	q := s.last.request
	o.MaskDecoder = s.decoder
	q.objects = &o
	l, err := s.newLocator(q)
	var usage usageError
	if errors.As(err, &usage) {
		return usageError{errors.New(strings.Replace(err.Error(), "--draw", ":draw", 1))}
	}
	if err != nil {
		return err
	}
	if err := s.openDecoder(l, q.masks); err != nil {
		return err
	}
	l.preview = screen
	for i, text := range s.last.texts {
		t, image := l.targets[&q.items[i]], s.pictures[i].images[0]
		t.size = image.fitted.Size
		if _, err := l.locateOn(ctx, image, q.limits, text, t, nil); err != nil {
			return err
		}
		if screen == nil {
			s.note("drawn: %s", t.drawing)
		}
	}
	return nil
}
