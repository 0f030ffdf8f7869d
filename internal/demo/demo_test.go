package demo

import (
	"testing"

	"paligemma/internal/model"
)

// The file is small, whole, and says what it is.
func TestOpen(t *testing.T) {
	if len(file) > 10_000_000 {
		t.Errorf("%d bytes, want 10 MB at most", len(file))
	}
	f, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	config, err := model.ReadConfig(f.Header)
	if err != nil {
		t.Fatal(err)
	}
	if err := config.CheckTensors(f.Header); err != nil {
		t.Error(err)
	}
	if !model.HasMaskDecoder(f.Header) {
		t.Error("no mask decoder")
	}
	for _, key := range []string{"general.name", "general.description", "demo.training", "demo.scores"} {
		if text, err := f.String(key); err != nil || text == "" {
			t.Errorf("%s: %q, %v", key, text, err)
		}
	}
}
