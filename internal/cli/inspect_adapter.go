package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"paligemma/internal/adapter"
)

// inspectAdapter describes an adapter of PEFT.
func inspectAdapter(path string) (*inspection, error) {
	a, err := adapter.Open(path)
	if err != nil {
		return nil, err
	}
	in := &inspection{Path: path, Format: "adapter", Metadata: map[string]any{}, Tensors: []inspectedTensor{}, close: func() { a.Close() }}
	if in.Adapter, err = a.Summary(); err == nil {
		err = in.addConfig(a.ConfigPath())
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	tensors := a.Tensors()
	for _, t := range tensors {
		in.addSafetensor(t, "")
	}
	in.verify = floatVerifier(tensors, func(i int, p []byte, off int64) error { return a.ReadAt(tensors[i], p, off) }, a.Unchanged)
	return in, nil
}

// writeAdapter prints what is in an adapter, in lines of two columns.
func writeAdapter(out io.Writer, s *adapter.Summary) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range s.Describe() {
		fmt.Fprintf(w, "%s\t%s\n", row[0], escapePath.Replace(row[1]))
	}
	return w.Flush()
}
