package convert

import (
	"fmt"
	"testing"

	"paligemma/internal/layout"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// TestShapesOfReleases: the shapes of a release's tensors, as transformers and as
// big_vision store them, tell its whole configuration.
func TestShapesOfReleases(t *testing.T) {
	for _, release := range model.Releases() {
		for _, missing := range []int{0, 64} { // rows of the embedding that no token has
			t.Run(fmt.Sprint(release.Name, " -", missing), func(t *testing.T) {
				want := release
				want.Text.Vocab -= missing
				c := &catalog{named: map[string]safetensors.Entry{}, advice: shapesAdvice}
				names := layout.Names(want)
				for _, spec := range want.Tensors() {
					e := safetensors.Tensor{Name: spec.Name, Shape: layout.Shape(want, spec)}
					c.named[names[spec.Name].HF] = safetensors.Entry{Tensor: e}
				}
				known := heads{want.Text.Heads, want.Text.KVHeads, want.Text.HeadDim, want.Vision.Heads}
				for _, h := range []heads{{}, known} {
					s, err := c.shapeSettings(h)
					if err != nil {
						t.Fatal(err)
					}
					got := s.config
					got.Name, got.Tokens, got.Tied = want.Name, want.Tokens, want.Tied
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%+v\nwant %+v", got, want)
					}
				}
			})
		}
	}
}
