package convert

import (
	"context"
	"errors"
	"fmt"
	"io"

	"paligemma/internal/adapter"
	"paligemma/internal/atomicfile"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	reader "paligemma/internal/tokenizer"
	"paligemma/internal/units"
)

// QuantizeOptions say how to make a model of another type.
type QuantizeOptions struct {
	Type            string                  // a name of Types, in upper or lower case; "" is q8_0
	AllowRequantize bool                    // take tensors that were quantized before, too
	Overwrite       bool                    // replace an existing output
	Threads         int                     // workers; 0: one for each core
	Progress        func(done, total int64) // bytes of output written; called from one goroutine
	Adapters        []adapter.Loaded        // merged into the weights; they stay open

	chunk int // values converted at a time, for tests; 0: chunkValues
}

// ErrQuantized is wrapped where a tensor would be quantized a second time.
var ErrQuantized = errors.New("quantized already, and rounding again loses more; start from the checkpoint or an f32, f16 or bf16 file, or say --allow-requantize")

// Quantize writes a model as another of the type given, whole or not at all:
// from a file of type f32 the very bytes that Convert would have made of its
// checkpoint. src is checked as model.Load would and stays open; it may lie in
// memory (gguf.FromBytes). Tensors that are of the right type already are copied
// as they are; others that were quantized are an ErrQuantized unless
// opts.AllowRequantize. Canceling ctx stops it with ctx's error. Trouble with
// the output is an OutputError, another model a model.ErrNotPaliGemma, and a bad
// opts.Type an ErrUnknownType.
func Quantize(ctx context.Context, src *gguf.File, out string, opts QuantizeOptions) (*Report, error) {
	m, err := findMix(opts.Type)
	if err != nil {
		return nil, err
	}
	if src.SameFile(out) {
		return nil, &OutputError{fmt.Errorf("%s: the output is the model that is read", out)}
	}
	if err := notAnInput(out, adapterFiles(opts.Adapters)); err != nil {
		return nil, err
	}
	dst, err := atomicfile.Create(out, opts.Overwrite)
	if err != nil {
		return nil, &OutputError{err}
	}
	defer dst.Abort()
	report, err := requantize(ctx, src, dst, m, opts)
	if err == nil {
		err = checkOutput(dst, report.Size)
	}
	if err == nil {
		err = src.Unchanged()
	}
	if err != nil {
		return nil, fmt.Errorf("quantize %s: %w", src.Path(), err)
	}
	if err := dst.Commit(); err != nil {
		return nil, &OutputError{err}
	}
	report.Path = out
	return report, nil
}

func requantize(ctx context.Context, src *gguf.File, dst io.Writer, m mix, opts QuantizeOptions) (*Report, error) {
	config, err := model.ReadConfig(src.Header)
	if err != nil {
		return nil, err
	}
	if err := config.CheckTensors(src.Header); err != nil {
		return nil, err
	}
	tok, err := reader.FromGGUF(src.Header)
	if err != nil {
		return nil, err
	}
	merge, err := newMerge(config, opts.Adapters)
	if err != nil {
		return nil, err
	}
	if merge != nil {
		config = merge.Config
	}
	report := &Report{Type: m.name, Config: config}
	tensors, err := requantized(src, config, m, merge, opts.AllowRequantize, report)
	if err != nil {
		return nil, err
	}
	var w gguf.Writer
	copyKeys(&w, src.Header, m, merge)
	if report.Tokenizer, err = updateTokenizer(&w, src.Header, tok); err != nil {
		return nil, err
	}
	err = write(ctx, dst, &w, tensors, report, Options{Threads: opts.Threads, Progress: opts.Progress, chunk: opts.chunk})
	return report, errors.Join(err, merge.unchanged())
}

// requantized chooses what becomes of a checked file's tensors.
func requantized(src *gguf.File, config model.Config, m mix, merge *merge, allowed bool, report *Report) ([]tensor, error) {
	specs := config.Tensors()
	if model.HasMaskDecoder(src.Header) {
		for _, t := range model.MaskTensors() {
			specs = append(specs, t.Spec())
		}
	}
	var all []tensor
	again := 0
	for _, spec := range specs {
		stored, ok := src.Lookup(spec.Name)
		if !ok { // the head, which was the token embedding
			stored, _ = src.Lookup(model.TensorEmbedding)
		}
		t := tensor{
			Choice: m.choose(config, spec), source: spec.Name, from: stored.Type.String(),
			rows: fileRows{src, stored, spec.Shape[0]},
		}
		switch {
		case stored.Type.BlockSize() == 1:
		case merge.replaces(spec.Name):
		case stored.Type == t.Type && !merge.changes(spec.Name):
			t.ready = src.Data(stored)
		case !allowed:
			return nil, fmt.Errorf("tensor %s is %v: %w", spec.Name, stored.Type, ErrQuantized)
		default:
			again++
		}
		if err := merge.apply(&t); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	if merge != nil {
		report.Notes = append(report.Notes, merge.FileNotes()...)
	}
	if again > 0 {
		report.Notes = append(report.Notes, units.Count(again, "tensor was", "tensors were")+" quantized before: what that lost stays lost, and any further rounding adds to it")
	}
	return all, nil
}

// copyKeys copies a file's keys, but for those that say its type and, where there are
// more, which adapters were merged.
func copyKeys(w *gguf.Writer, h *gguf.Header, m mix, merge *merge) {
	for _, key := range h.Keys() {
		switch key {
		case gguf.KeyFileType:
			m.setKeys(w)
		case keyQuantVersion: // next to the file type, where there is one
		case keyAdapters, keyAdapterScales, keyAdapterBases:
			if !merge.setsKeys() {
				w.CopyKey(h, key)
			}
		case reader.KeyMerges, reader.KeyAdded: // without the pipeline they are nobody's
			if h.Has(reader.KeyPipeline) {
				w.CopyKey(h, key)
			}
		default:
			w.CopyKey(h, key)
		}
	}
	if !h.Has(gguf.KeyFileType) {
		m.setKeys(w)
	}
	merge.setKeys(w, h)
}

// updateTokenizer adds the compiled form of the tokenizer to a file that was
// converted without.
func updateTokenizer(w *gguf.Writer, h *gguf.Header, src reader.Source) (reader.Encoding, error) {
	if h.Has(reader.KeyPipeline) {
		return reader.EncodingOf(h)
	}
	compiled, encoding, err := src.Compile()
	if compiled != nil {
		compiled.SetKeys(w)
	}
	return encoding, err
}

// fileRows are the rows of a tensor in a GGUF file, which may be padded there.
type fileRows struct {
	file   *gguf.File
	tensor gguf.Tensor
	width  int
}

func (f fileRows) read(dst []float32, row int, s *scratch) error {
	if err := f.file.Unchanged(); err != nil {
		return err
	}
	stored, n := int(f.tensor.Shape[0]), len(dst)/f.width
	size, err := f.tensor.Type.RowBytes(f.tensor.Shape[0])
	if err != nil {
		return fmt.Errorf("tensor %s: %w", f.tensor.Name, err)
	}
	data := f.file.Data(f.tensor)
	if data == nil {
		return fmt.Errorf("tensor %s: the file is closed", f.tensor.Name)
	}
	values := dst
	if stored != f.width {
		s.floats = room(s.floats, n*stored)
		values = s.floats
	}
	if err := ggml.Dequantize(f.tensor.Type, values, data[int64(row)*size:int64(row+n)*size], stored); err != nil {
		return fmt.Errorf("tensor %s: %w", f.tensor.Name, err)
	}
	if stored != f.width {
		for r := range n {
			copy(dst[r*f.width:(r+1)*f.width], values[r*stored:])
		}
	}
	return nil
}
