package cli

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync/atomic"

	"paligemma/internal/engine"
	"paligemma/internal/quote"
	"paligemma/internal/result"
	"paligemma/internal/task"
	"paligemma/internal/units"
)

// session is a run whose prompts come a line at a time. Its request is what those of
// all lines are made from; it counts the lines and images that were tried.
type session struct {
	run
	recursive   bool   // folders with the folders in them
	decoder     string // --mask-decoder
	interactive bool   // a person types the lines
	pictures    []picture
	last        *answers      // nil: nothing was asked
	masks       *engine.Masks // nil: none yet, or none there is
	opened      bool          // masks is settled
	quit        bool
	stop        atomic.Pointer[context.CancelFunc] // of the line that is carried out
}

// answers are those of all pictures to one prompt.
type answers struct {
	request
	texts []string
}

// loop carries out lines until they end.
func (s *session) loop(ctx context.Context, lines iter.Seq[line]) error {
	for l := range lines {
		if err := s.carryOut(ctx, l); err != nil {
			return err
		}
		if s.quit {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.failed > 0 && !s.interactive:
		return partlyError{s.failed, s.done, "lines and images"}
	}
	return nil
}

// carryOut carries out a line. Its error is one that ends the session.
func (s *session) carryOut(ctx context.Context, l line) error {
	if l.err != nil && !errors.Is(l.err, result.ErrTooLong) {
		return l.failure()
	}
	if strings.TrimSpace(l.text) == "" && l.err == nil {
		return nil
	}
	s.done++
	err := l.err
	if err == nil {
		err = s.handle(ctx, l.text)
	} else {
		err = l.failure()
	}
	if err == nil {
		return nil
	}
	if ends := s.printer.end(); ends != nil {
		return ends
	}
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, context.Canceled):
		s.note("stopped")
		return nil
	case ended(err):
		return err
	}
	s.fail(err)
	return nil
}

// ended reports whether nothing can be answered after an error.
func ended(err error) bool {
	var output outputError
	return errors.Is(err, errClosedPipe) || errors.As(err, &output) || exitCode(err) == exitModel
}

// fail reports a line or an image that failed.
func (s *session) fail(err error) {
	s.failed++
	s.complain(err)
}

// interrupt stops the line that is carried out, if there is one.
func (s *session) interrupt() {
	if stop := s.stop.Load(); stop != nil {
		(*stop)()
	}
}

// handle carries out a command or asks a prompt, until it is stopped.
func (s *session) handle(ctx context.Context, text string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.stop.Store(&cancel)
	defer s.stop.Store(nil)
	if strings.HasPrefix(text, ":") {
		return s.command(ctx, text)
	}
	return s.ask(ctx, lookPrompt(text))
}

// lookPrompt returns the prompt that a line stands for: descriptions have a language.
func lookPrompt(text string) string {
	text = strings.TrimSpace(text)
	for _, style := range []string{task.StyleShort, task.StyleCOCO, task.StyleDetailed} {
		if prompt, err := task.Caption("", style); err == nil && strings.TrimSuffix(prompt, " "+task.DefaultLang) == text {
			return prompt
		}
	}
	return text
}

// newRun makes a run that asks a prompt of all pictures.
func (s *session) newRun(prompt string) (*run, error) {
	r := s.run
	r.items = make([]item, len(s.pictures))
	for i, p := range s.pictures {
		r.items[i] = item{sources: []source{p.source}, prompts: []string{prompt}}
	}
	r.request.stream = s.interactive
	if asksObjects(&r.items[0], prompt) {
		r.request.objects, r.request.masks = &objectOptions{MaskDecoder: s.decoder}, task.AsksMasks(prompt)
	}
	several := len(r.items) > 1
	s.printer = s.printer.with(layout{many: true, lines: several || !s.interactive || r.sampling.NumReturn > 1, paths: several})
	r.printer = s.printer
	return &r, s.locate(&r)
}

// locate gives a run that asks for objects its locator.
func (s *session) locate(r *run) (err error) {
	if r.request.objects == nil {
		return nil
	}
	if r.locator, err = s.newLocator(r.request); err != nil {
		return err
	}
	return s.openDecoder(r.locator, r.request.masks)
}

// ask asks a prompt of all pictures, and prints the answers.
func (s *session) ask(ctx context.Context, prompt string) error {
	r, err := s.newRun(prompt)
	if err != nil {
		return err
	}
	if r.locator != nil {
		defer r.locator.log()
	}
	defer r.logOutcomes()
	texts := make([]string, len(r.items))
	for i := range r.items {
		result, err := r.answer(ctx, &r.items[i], 0, s.pictures[i].images)
		if err != nil && ctx.Err() == nil {
			err = errors.Join(err, r.printFailure(&r.items[i], err))
		}
		if err != nil {
			return err
		}
		if result.Text != nil {
			texts[i] = *result.Text
		}
	}
	s.last = &answers{request: r.request, texts: texts}
	return nil
}

// describe names the pictures.
func (s *session) describe() string {
	if len(s.pictures) == 1 {
		return quote.Line(s.pictures[0].source.path, quote.Max)
	}
	return units.Count(len(s.pictures), "image", "images")
}

// change takes other pictures, in place of those there are or with them.
func (s *session) change(ctx context.Context, name string, add bool) error {
	if name == stdinName {
		return errLookStdin
	}
	sources, err := s.expandImages(ctx, []string{name}, imageOptions{Recursive: s.recursive})
	if err != nil {
		return err
	}
	items := splitItems(sources, nil)
	kept := s.pictures
	if !add {
		kept = nil
	}
	if len(kept)+len(items) > maxLooked {
		return errTooMany
	}
	s.reader.close()
	s.request.items = items
	s.reader = s.newReader(ctx, s.request.sources(), s.request.limits)
	s.reader.open(s.engine)
	pictures, err := s.encode(ctx, items)
	if err != nil {
		return err
	}
	s.pictures, s.last = append(kept[:len(kept):len(kept)], pictures...), nil
	s.note("now asking about %s", s.describe())
	return nil
}
