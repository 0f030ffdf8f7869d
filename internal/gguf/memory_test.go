package gguf

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// A file that is built in memory is the one that Encode writes.
func TestBuild(t *testing.T) {
	var want bytes.Buffer
	if err := full(t).Encode(&want, fill); err != nil {
		t.Fatal(err)
	}
	f, err := full(t).Build("x", func(tensor Tensor, data []byte) error {
		var b bytes.Buffer
		err := fill(tensor, &b)
		copy(data, b.Bytes())
		if b.Len() != len(data) {
			t.Errorf("tensor %s: room for %d bytes, want %d", tensor.Name, len(data), b.Len())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.Bytes(), want.Bytes()) {
		t.Error("other bytes than Encode's")
	}
	if f.OffHeap() != canMap || f.Path() != "x" || f.Unchanged() != nil {
		t.Errorf("off heap %v, path %s, %v", f.OffHeap(), f.Path(), f.Unchanged())
	}
	if err := f.Close(); err != nil || f.Bytes() != nil {
		t.Errorf("close: %v", err)
	}
}

func TestBuildFails(t *testing.T) {
	if _, err := full(t).Build("x", func(Tensor, []byte) error { return io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) || !strings.HasPrefix(err.Error(), "x: tensor a") {
		t.Errorf("a failing fill: %v", err)
	}
	w := full(t)
	w.SetBool("bool", false)
	if _, err := w.Build("x", nil); err == nil {
		t.Error("a key that is set twice")
	}
	w = &Writer{}
	if err := w.AddTensor("huge", TypeF32, 1<<40, 1<<18); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Build("x", nil); err == nil {
		t.Error("more memory than there is")
	}
}
