package convert

import (
	"context"
	"errors"
	"io"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// Options say how to convert.
type Options struct {
	Type      string                  // a name of Types, in upper or lower case; "" is q8_0
	Overwrite bool                    // replace an existing output
	Threads   int                     // workers; 0: one for each core
	Progress  func(done, total int64) // bytes of output written; called from one goroutine at a time
	Name      string                  // general.name; "" is the checkpoint's base name
}

// TypeInfo describes an output type.
type TypeInfo struct {
	Name        string
	Description string // a line for --help and tables
}

// Types lists the output types, widest first.
func Types() []TypeInfo { return nil }

// Row tells what became of one tensor.
type Row struct {
	Name   string            // in the GGUF file
	Source string            // in the checkpoint
	Shape  []int             // true dimensions, innermost first
	Stored []int64           // dimensions in the file: rows may be padded
	DType  safetensors.DType // in the checkpoint
	Type   gguf.Type         // in the file
	Why    string            // "" where the type is simply the one asked for
	Bytes  int64             // in the file
}

// Report says what a conversion did.
type Report struct {
	Path   string // of the output
	Type   string
	Config model.Config
	Rows   []Row
	Notes  []string // what a user should know, one line each
	Size   int64    // of the file, in bytes
}

// Parameters is the number of weights, padding not counted.
func (r *Report) Parameters() int64 { return 0 }

// BitsPerWeight is the size of the whole file over the number of weights.
func (r *Report) BitsPerWeight() float64 { return 0 }

// WriteTable prints the rows, equal ones of several layers as one.
func (r *Report) WriteTable(w io.Writer) error { return nil }

// Convert writes the checkpoint as a GGUF file, whole or not at all.
func Convert(ctx context.Context, checkpoint, out string, opts Options) (*Report, error) {
	return nil, errors.New("not yet")
}

// DefaultOutput is the name of the output where none is given: NAME-TYPE.gguf
// in the current folder.
func DefaultOutput(checkpoint, typ string) string { return "" }
