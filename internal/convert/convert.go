package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"paligemma/internal/adapter"
	"paligemma/internal/atomicfile"
	"paligemma/internal/folder"
	"paligemma/internal/gguf"
	"paligemma/internal/layout"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// Options say how to convert.
type Options struct {
	Type        string                  // a name of Types, in upper or lower case; "" is q8_0
	Overwrite   bool                    // replace an existing output
	Threads     int                     // workers; 0: one for each core
	Progress    func(done, total int64) // bytes of output written; called from one goroutine
	Name        string                  // general.name; "" is the checkpoint's base name
	Prefix      string                  // the model's tensors are those whose names begin so; "": all
	Projector   string                  // mmproj.gguf, the vision part of a checkpoint that is a GGUF file; "": it is not
	Tokenizer   string                  // a tokenizer's file, or a folder with one; "" is the checkpoint's own
	MaskDecoder string                  // vae-oid.npz, whose decoder goes into the file; "": none
	Adapters    []adapter.Loaded        // merged into the weights; they stay open
	Origin      *Origin                 // goes into the file's keys; nil: not known

	chunk int // values converted at a time, for tests; 0: chunkValues
}

// Convert writes a checkpoint (a folder, a safetensors file or an index, with
// its JSON files next to it; big_vision's npz; or a language model in GGUF, with
// Options.Projector) as a GGUF file, whole or not at all. Canceling ctx
// stops it with ctx's error. Trouble with the output is an OutputError (of an
// atomicfile.ErrExists if it exists and may not be overwritten), a checkpoint of
// another model a model.ErrNotPaliGemma, and a bad Options.Type an ErrUnknownType.
func Convert(ctx context.Context, checkpoint, out string, opts Options) (*Report, error) {
	m, err := findMix(opts.Type)
	if err != nil {
		return nil, err
	}
	if err := notAnInput(out, opts.inputs(checkpoint)); err != nil {
		return nil, err
	}
	dst, err := atomicfile.Create(out, opts.Overwrite)
	if err != nil {
		return nil, &OutputError{err}
	}
	defer dst.Abort()
	c, err := open(ctx, checkpoint, out, opts)
	if err != nil {
		return nil, refuse(checkpoint, err)
	}
	defer c.ckpt.Close()
	if opts.MaskDecoder != "" {
		if c.mask, err = ReadMaskDecoder(opts.MaskDecoder); err != nil {
			return nil, fmt.Errorf("mask decoder: %w", err)
		}
	}
	c.config.Name = opts.Name
	if opts.Name == "" {
		c.config.Name = baseName(checkpoint)
	}
	if err := c.addAdapters(opts.Adapters); err != nil {
		return nil, refuse(checkpoint, err)
	}
	report, err := c.write(ctx, dst, m, opts)
	if err == nil {
		err = errors.Join(c.ckpt.Unchanged(), c.merge.unchanged())
	}
	if err == nil {
		err = checkOutput(dst, report.Size)
	}
	if err != nil {
		return nil, refuse(checkpoint, err)
	}
	if err := dst.Commit(); err != nil {
		return nil, &OutputError{err}
	}
	report.Path = out
	return report, nil
}

// conversion is a checkpoint that was checked from end to end, but for the
// values of its weights.
type conversion struct {
	ckpt    weights
	config  model.Config
	tok     *tokenizer
	sources []source
	merge   *merge
	mask    map[string][]float32 // the mask decoder's tensors; nil: none
	notes   []string
}

// open reads everything but the weights.
func open(ctx context.Context, checkpoint, out string, opts Options) (*conversion, error) {
	switch {
	case opts.Projector != "":
		return openPair(ctx, checkpoint, opts)
	case IsBigVision(checkpoint):
		return openBigVision(ctx, checkpoint, opts)
	}
	return openPlain(ctx, checkpoint, out, opts)
}

// openPlain opens a checkpoint of safetensors and JSON.
func openPlain(ctx context.Context, checkpoint, out string, opts Options) (*conversion, error) {
	dir, err := checkpointDir(checkpoint)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(checkpoint); err == nil && info.IsDir() {
		checkpoint = dir // of a hub's cache: the snapshot
	}
	var errs []error
	config, err := openConfig(dir, &errs)
	configured := err == nil
	switch {
	case configured:
	case !errNoConfig(err):
		return nil, err
	case opts.Prefix == "":
		return nil, suggestPrefix(checkpoint, err)
	}
	if err := unappliedAdapter(checkpoint, dir); err != nil {
		return nil, err
	}
	ckpt, err := safetensors.OpenCheckpoint(checkpoint)
	if err != nil {
		return nil, explainWeights(dir, err)
	}
	c := &conversion{ckpt: plainWeights{ckpt}}
	if err = notAnInput(out, paths(ckpt.Tensors())); err == nil {
		err = c.read(ctx, ckpt, dir, config, configured, opts)
	}
	if err != nil {
		ckpt.Close()
		return nil, err
	}
	return c, nil
}

// read brings the JSON files, the tokenizer and the list of tensors together. Where
// there is no configuration of a PaliGemma, the tensors' shapes say what it is.
func (c *conversion) read(ctx context.Context, ckpt *safetensors.Checkpoint, dir string, config object, configured bool, opts Options) error {
	if len(ckpt.Tensors()) == 0 {
		return errors.New("the safetensors hold no tensors: download or save the checkpoint again")
	}
	tensors, err := newCatalog(ctx, ckpt, dotted(opts.Prefix))
	if err != nil {
		return err
	}
	c.notes = unused(dir, ckpt)
	if !configured {
		tensors.advice = shapesAdvice
		s, err := tensors.shapeSettings(heads{})
		if err != nil {
			return err
		}
		return c.finish(ctx, dir, opts.Tokenizer, s, tensors)
	}
	positions := 0
	if e, ok := tensors.named[layout.VisionPrefix+layout.PositionName]; ok && len(e.Shape) == 2 {
		positions = int(min(e.Shape[0], 1<<20))
	}
	s, err := readSettings(dir, config, positions)
	if err != nil {
		return err
	}
	err = c.finish(ctx, dir, opts.Tokenizer, s, tensors)
	if err != nil && c.tok != nil && !config.has("text_config") {
		err = because(err, "config.json has no text_config, and the weights are not of the size that stands for (%v)", err)
	}
	return err
}

// finish finds the tensors of a configuration and adds the tokenizer.
func (c *conversion) finish(ctx context.Context, dir, tokenizer string, s *settings, tensors *catalog) (err error) {
	c.config = s.config
	tok, err := readTokenizer(dir, tokenizer, s)
	if err != nil {
		return err
	}
	if c.config.Tokens, err = tok.special(s); err != nil {
		return err
	}
	if c.config.Tied, err = findHead(ctx, tensors, s); err != nil {
		return err
	}
	if err := c.config.Validate(); err != nil {
		return fmt.Errorf("%s: %w", s.from, err)
	}
	c.tok = tok
	c.sources, err = resolve(c.config, tensors)
	c.notes = slices.Concat(c.notes, s.notes, tensors.notes)
	return err
}

// findHead reports whether the head is the token embedding, and leaves the
// catalog with what is to be stored of the two. As in transformers 5, what is
// stored counts for more than tie_word_embeddings: a head that differs from the
// embedding is a head, one that is equal to it (some savers write both) is not.
func findHead(ctx context.Context, tensors *catalog, s *settings) (tied bool, err error) {
	head, ok := tensors.named[layout.HeadName]
	embedding, embedded := tensors.named[layout.EmbeddingName]
	note := func(format string, args ...any) { tensors.notes = append(tensors.notes, fmt.Sprintf(format, args...)) }
	switch {
	case !ok && s.mustHead: // resolve reports it missing
		return false, nil
	case !ok:
		if !s.tied {
			note("text_config.tie_word_embeddings is false, but there is no head: it is the token embedding")
		}
		return true, nil
	case !embedded && s.mustHead: // resolve reports the embedding missing
		return false, nil
	case !embedded:
		note("the token embedding is stored as %s alone", shown(head.Name))
		tensors.named[layout.EmbeddingName] = head
		return true, nil
	case head.Size == 0 && !s.mustHead:
		note("%s is empty and ignored: the head is the token embedding", shown(head.Name))
		return true, nil
	}
	equal, err := tensors.files.equal(ctx, head, embedding)
	if err != nil {
		return false, err
	}
	if equal {
		note("%s is equal to the token embedding and stored once", shown(head.Name))
	} else if s.tied {
		note("%s differs from the token embedding and is kept, though config.json says tie_word_embeddings", shown(head.Name))
	}
	return equal, nil
}

// addAdapters resolves adapters against the configuration. A head that is the token
// embedding no longer begins as a copy of it.
func (c *conversion) addAdapters(adapters []adapter.Loaded) (err error) {
	if c.merge, err = newMerge(c.config, adapters); c.merge == nil {
		return err
	}
	c.config = c.merge.Config
	c.notes = append(c.notes, c.merge.FileNotes()...)
	if !c.merge.Untied {
		return nil
	}
	named := map[string]source{}
	for _, s := range c.sources {
		named[s.spec.Name] = s
	}
	c.sources = nil
	for _, spec := range c.config.Tensors() {
		s, ok := named[spec.Name]
		if !ok {
			s = named[model.TensorEmbedding]
		}
		s.spec = spec
		c.sources = append(c.sources, s)
	}
	return nil
}

// write encodes the file.
func (c *conversion) write(ctx context.Context, dst io.Writer, m mix, opts Options) (*Report, error) {
	var w gguf.Writer
	c.config.SetKeys(&w)
	m.setKeys(&w)
	c.tok.setKeys(&w)
	c.merge.setKeys(&w, nil)
	opts.Origin.setKeys(&w)
	var tensors []tensor
	for _, s := range c.sources {
		t := tensor{
			Choice: m.choose(c.config, s.spec), source: s.entry.Name, from: strings.ToLower(string(s.entry.DType)),
			rows: c.ckpt.rows(s.entry, s.spec.Shape[0], s.plusOne),
		}
		if err := c.merge.apply(&t); err != nil {
			return nil, err
		}
		tensors = append(tensors, t)
	}
	if c.mask != nil {
		tensors = append(tensors, maskTensors(c.config, m, c.mask)...)
	}
	report := &Report{Type: m.name, Config: c.config, Tokenizer: c.tok.encoding, Notes: c.notes}
	return report, write(ctx, dst, &w, tensors, report, opts)
}

// baseName is what to call a checkpoint: its folder's or file's name, or, in a
// hub's cache (models--OWNER--NAME/snapshots/REVISION), the model's.
func baseName(checkpoint string) string {
	if abs, err := filepath.Abs(checkpoint); err == nil {
		checkpoint = abs
	}
	if name := folder.CachedName(checkpoint); name != "" {
		return name
	}
	name := filepath.Base(checkpoint)
	if info, err := os.Stat(checkpoint); err != nil || !info.IsDir() {
		for _, suffix := range []string{".index.json", ".safetensors", ".npz", ".gguf"} {
			name = strings.TrimSuffix(name, suffix)
		}
	}
	if strings.Trim(name, `./\`) == "" {
		return "model"
	}
	return name
}

// DefaultOutput is the name of the output where none is given: NAME-TYPE.gguf
// in the current folder, after the checkpoint's folder or file.
func DefaultOutput(checkpoint, typ string) string {
	if m, err := findMix(typ); err == nil {
		typ = m.name
	}
	return baseName(checkpoint) + "-" + typ + ".gguf"
}
