package convert

import (
	"context"
	"fmt"
	"io"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	reader "paligemma/internal/tokenizer"
)

// tensor is a tensor of the file that is made.
type tensor struct {
	Choice
	source string // its name where it comes from
	from   string // its type there, in lower case
	rows   rowSource
	ready  []byte // its rows, if they are there as they are to be stored; else nil
}

// OutputError is an error about the output, which is not the input's fault.
type OutputError struct{ Err error }

// Error is the error's own text.
func (e *OutputError) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e *OutputError) Unwrap() error { return e.Err }

// height is the number of rows of the tensor.
func (t *tensor) height() int {
	n := 1
	for _, d := range t.Spec.Shape[1:] {
		n *= d
	}
	return n
}

// write adds the tensors to a writer that has all keys, and encodes the file.
// What became of each goes into the report.
func write(ctx context.Context, dst io.Writer, w *gguf.Writer, tensors []tensor, report *Report, opts Options) error {
	for _, t := range tensors {
		if err := w.AddTensor(t.Spec.Name, t.Type, t.Stored...); err != nil {
			return err
		}
		report.Rows = append(report.Rows, Row{
			Name: t.Spec.Name, Source: t.source, Shape: t.Spec.Shape, Stored: t.Stored,
			From: t.from, Type: t.Type, Why: t.Why, Bytes: t.Bytes,
		})
	}
	var err error
	if report.Size, err = w.Size(); err != nil {
		return err
	}
	if opts.Progress != nil {
		dst = &meter{dst, opts.Progress, 0, report.Size}
	}
	return encode(ctx, tensors, w, dst, opts)
}

// checkOutput makes sure that what was written opens again as a model: its
// header, the shapes of its tensors, and its tokenizer, which has to encode.
func checkOutput(r io.ReaderAt, size int64) error {
	h, err := gguf.Parse(r, size)
	if err != nil {
		return fmt.Errorf("reading the output back: %w", err)
	}
	config, err := model.ReadConfig(h)
	if err != nil {
		return err
	}
	if err := config.CheckTensors(h); err != nil {
		return err
	}
	tok, err := reader.OpenGGUF(h, false)
	if err != nil {
		return err
	}
	defer tok.Close()
	_, err = tok.Prompt("caption en", 1, config.Vision.ImageTokens)
	return err
}

const keyQuantVersion = "general.quantization_version"

// setKeys writes the keys that say what type a file is of.
func (m mix) setKeys(w *gguf.Writer) {
	w.SetUint32(gguf.KeyFileType, m.fileType)
	if m.base.BlockSize() > 1 {
		w.SetUint32(keyQuantVersion, 2) // GGML_QNT_VERSION
	}
}

// meter reports how much was written.
type meter struct {
	w           io.Writer
	report      func(done, total int64)
	done, total int64
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.done += int64(n)
	m.report(m.done, m.total)
	return n, err
}
