package demo_test

import (
	"slices"
	"testing"

	"paligemma/internal/demo"
	"paligemma/internal/demo/scene"
)

// The model was trained on captions in these languages.
func TestLangs(t *testing.T) {
	if !slices.Equal(demo.Langs, scene.Langs) {
		t.Errorf("%q, trained on %q", demo.Langs, scene.Langs)
	}
}
