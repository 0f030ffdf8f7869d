package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"paligemma/internal/demo"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/task"
	"paligemma/internal/tokenizer"
)

// session is an open model and what it runs on.
type session struct {
	file   *gguf.File
	engine *ggml.Engine
	model  *model.Model
	tok    *tokenizer.Tokenizer
	config model.Config
	force  bool          // do not ask whether the memory will do
	load   time.Duration // until the model was ready, and waiting for the tokenizer
}

// openModel opens the model that the flags name. The caller closes the session.
// The tokenizer loads in the background: prompt waits for it.
func (a *app) openModel(o modelOptions) (*session, error) {
	if o.Model == "" {
		a.note("no model is named: this is the built-in one, which knows drawn shapes and words; " +
			"for photographs convert a checkpoint (`paligemma convert --help`) and name it with -m or PALIGEMMA_MODEL")
	}
	start := time.Now()
	s := &session{force: o.Force}
	if err := s.open(o); err != nil {
		s.close()
		return nil, err
	}
	s.load = time.Since(start)
	if n := s.engine.Refused(); n > 0 {
		a.note("the system starts no more threads (ulimit -u, a limit of processes): %d in place of %d compute", s.engine.Threads(), s.engine.Threads()+n)
	}
	a.detail("%s: %s, %s, %d threads", s.file.Path(), s.config.Arch, s.engine.Device().Name, s.engine.Threads())
	return s, nil
}

func (s *session) open(o modelOptions) error {
	file, err := openFile(o)
	if err != nil {
		return modelError{err}
	}
	s.file = file
	if s.tok, err = tokenizer.OpenGGUF(file.Header, o.Special); err != nil {
		return modelError{fmt.Errorf("%s: %w", file.Path(), err)}
	}
	if s.engine, err = ggml.NewEngine(ggml.Options{Device: o.Device, Threads: o.Threads}); err != nil {
		return err
	}
	if s.model, err = model.Load(file, s.engine); err != nil {
		return modelError{err}
	}
	s.config = s.model.Config()
	return s.unchanged() // other devices have a copy of the weights
}

// openFile opens the model's file, or the built-in model if none is named.
func openFile(o modelOptions) (*gguf.File, error) {
	if o.Model == "" {
		file, err := demo.Open()
		if err != nil {
			return nil, err
		}
		if err := o.checkModel(file.Header, int64(len(file.Bytes()))); err != nil {
			return nil, fmt.Errorf("%s: %w", file.Path(), err)
		}
		return file, nil
	}
	if info, err := os.Stat(o.Model); err != nil {
		return nil, fmt.Errorf("model %s: %w", o.Model, cause(err))
	} else if info.IsDir() {
		return nil, fmt.Errorf("model %s is a folder: make a GGUF file of it with `paligemma convert`", o.Model)
	}
	return gguf.Open(o.Model, gguf.Options{NoMmap: o.NoMmap, Before: o.checkModel})
}

// close frees everything, in the order that owners and users ask for.
func (s *session) close() {
	if s.model != nil {
		s.model.Close()
	}
	if s.engine != nil {
		s.engine.Close()
	}
	if s.tok != nil {
		s.tok.Close()
	}
	if s.file != nil {
		s.file.Close()
	}
}

// ready waits for the tokenizer.
func (s *session) ready() error {
	start := time.Now()
	if err := s.tok.Ready(); err != nil {
		return modelError{fmt.Errorf("%s: %w", s.file.Path(), err)}
	}
	s.load += time.Since(start)
	return nil
}

// prompt lays out a prompt for images.
func (s *session) prompt(text string, images []model.Features) (model.Prompt, error) {
	if err := s.ready(); err != nil {
		return model.Prompt{}, err
	}
	ids, err := s.tok.Prompt(text, len(images), s.config.Vision.ImageTokens)
	if err != nil {
		return model.Prompt{}, err
	}
	return model.Prompt{IDs: ids, Images: images}, nil
}

// encode runs the vision tower on a picture.
func (s *session) encode(ctx context.Context, p picture) (model.Features, time.Duration, error) {
	start := time.Now()
	features, err := s.model.Encode(ctx, p.pixels)
	return features, time.Since(start), s.blame(err)
}

// room is the number of tokens that fit in the context after a prompt: the
// model was made for no more.
func (s *session) room(p model.Prompt) (int, error) {
	room := s.config.Text.Context - len(p.IDs)
	if room < 1 {
		return 0, fmt.Errorf("the prompt has %d tokens, which leaves no room in the model's context of %d", len(p.IDs), s.config.Text.Context)
	}
	return room, nil
}

// generate continues a prompt within the context, by beam search if asked for.
func (s *session) generate(ctx context.Context, p model.Prompt, o samplingOptions, onToken func(int) error) (model.Generation, error) {
	room, err := s.room(p)
	if err != nil {
		return model.Generation{}, err
	}
	if err := s.checkPrompt(len(p.IDs), max(1, o.Beams)*min(o.MaxTokens, room)); err != nil {
		return model.Generation{}, err
	}
	if o.Beams > 1 {
		gen, err := s.model.BeamSearch(ctx, p, o.Beams, min(o.MaxTokens, room))
		return gen, s.blame(err)
	}
	gen, err := s.model.Generate(ctx, p, model.GenerateOptions{
		MaxTokens:   min(o.MaxTokens, room),
		Sampling:    o.Sampling,
		LogProbs:    o.Scores,
		TopLogProbs: o.LogProbs,
		OnToken:     s.watchTokens(o.StopRepeats, onToken),
	})
	return gen, s.blame(err)
}

// watchTokens passes tokens on to onToken, which may be nil and is not told stop
// tokens, as long as the model's file is unchanged, and ends the text where it
// repeats an object if asked to.
func (s *session) watchTokens(stopRepeats bool, onToken func(int) error) func(int) error {
	var repeats task.Repeats
	return func(id int) error {
		if onToken != nil && !s.config.Tokens.Ends(id) {
			if err := s.unchanged(); err != nil {
				return err
			}
			if err := onToken(id); err != nil {
				return err
			}
		}
		if stopRepeats {
			if keep, repeated := repeats.Push(s.tok.Piece(id)); repeated {
				return model.Repeat{Keep: keep}
			}
		}
		return nil
	}
}

// score rates texts as continuations of a prompt. It returns the ids of each, too.
func (s *session) score(ctx context.Context, p model.Prompt, texts []string) ([]model.Score, [][]int, error) {
	room, err := s.room(p)
	if err != nil {
		return nil, nil, err
	}
	ids := make([][]int, len(texts))
	for i, text := range texts {
		if ids[i], err = s.tok.Suffix(text); err != nil {
			return nil, nil, err
		}
		if len(ids[i]) > room {
			return nil, nil, fmt.Errorf("%s has %d tokens; after the prompt the model's context of %d has room for %d", quote.Short(text), len(ids[i]), s.config.Text.Context, room)
		}
	}
	if err := s.checkPrompt(len(p.IDs), len(slices.Concat(ids...))); err != nil {
		return nil, nil, err
	}
	scores, err := s.model.Score(ctx, p, ids)
	return scores, ids, s.blame(err)
}

// blame is the error of a pass: first of all that the model was changed in the
// meantime, for then the results mean nothing. It names the model where it computed
// something that is no number.
func (s *session) blame(err error) error {
	if changed := s.unchanged(); changed != nil && !errors.Is(err, context.Canceled) {
		return changed
	}
	if errors.Is(err, model.ErrNaN) {
		return fmt.Errorf("%s: %w", s.file.Path(), err)
	}
	return err
}

// unchanged makes sure that the mapped file is still the one that was checked.
func (s *session) unchanged() error {
	if err := s.file.Unchanged(); err != nil {
		return modelError{fmt.Errorf("%w (--no-mmap reads it into memory at the start)", err)}
	}
	return nil
}
