package convert

import (
	"context"
	"io"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
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

const keyQuantVersion = "general.quantization_version"

// setKeys writes the keys that say what type a file is of.
func (m mix) setKeys(w *gguf.Writer) {
	w.SetUint32(model.KeyFileType, m.fileType)
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
