package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"paligemma/internal/layout"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// maxLayers bounds the layers that are looked for.
const maxLayers = 1000

// heads are the numbers of attention heads, which the shapes of transformers'
// tensors do not tell; all 0: those of the release of this size.
type heads struct {
	text, kv, dim int
	vision        int
}

// shapeSettings makes a configuration of the shapes of tensors. What shapes do not
// say is the family's.
func (c *catalog) shapeSettings(h heads) (*settings, error) {
	kind := "gemma"
	if c.has(layout.TextPrefix + "layers.0.pre_feedforward_layernorm.weight") {
		kind = "gemma2"
	}
	s := &settings{config: families[kind], tied: true, from: "the tensors' shapes"}
	if err := c.readTextShapes(&s.config.Text); err != nil {
		return nil, err
	}
	if err := c.readTowerShapes(&s.config.Vision); err != nil {
		return nil, err
	}
	if h == (heads{}) {
		release, ok := c.findRelease(s.config)
		if !ok {
			return nil, fmt.Errorf("without PaliGemma's config.json only models of a release's size are read, and this one has %d layers of width %d: copy the config.json that it was trained from next to the weights",
				s.config.Text.Layers, s.config.Text.Hidden)
		}
		h = heads{release.Text.Heads, release.Text.KVHeads, release.Text.HeadDim, release.Vision.Heads}
	}
	t := &s.config.Text
	t.Heads, t.KVHeads, t.HeadDim, s.config.Vision.Heads = h.text, h.kv, h.dim, h.vision
	t.AttnScale = c.attnScale(s.config)
	s.image = releasedImage(t.Vocab)
	return s, nil
}

// releasedImage returns the id of <image> where a vocabulary is that of the releases:
// with it, or one row short of it as in big_vision. A tokenizer may lack it.
func releasedImage(rows int) []int {
	release := model.Releases()[0]
	if image := release.Tokens.Image; rows >= image && rows <= release.Text.Vocab {
		return []int{image}
	}
	return nil
}

// attnScale returns the scale of the attention of a model whose files do not say it:
// that of the release of this size, else of the width of a head.
func (c *catalog) attnScale(m model.Config) float32 {
	if release, ok := c.findRelease(m); ok {
		return release.Text.AttnScale
	}
	return float32(1 / math.Sqrt(float64(m.Text.HeadDim)))
}

// readTextShapes fills the language model's dimensions, but for the heads.
func (c *catalog) readTextShapes(t *model.TextConfig) error {
	embedding := layout.EmbeddingName
	if !c.has(embedding) && c.has(layout.HeadName) {
		embedding = layout.HeadName
	}
	var err error
	t.Vocab, t.Hidden = c.dim(embedding, 0, &err), c.dim(embedding, 1, &err)
	t.MLP = c.dim(layout.TextPrefix+"layers.0.mlp.gate_proj.weight", 0, &err)
	t.Layers = c.layers(layout.TextPrefix + "layers.%d.input_layernorm.weight")
	return err
}

// readTowerShapes fills the vision tower's dimensions, but for the heads.
func (c *catalog) readTowerShapes(v *model.VisionConfig) error {
	const layer = layout.VisionPrefix + "encoder.layers.%d."
	*v = model.So400m
	var err error
	patch := layout.VisionPrefix + "embeddings.patch_embedding.weight"
	v.Hidden, v.PatchSize = c.dim(patch, 0, &err), c.dim(patch, 2, &err)
	v.MLP = c.dim(fmt.Sprintf(layer, 0)+"mlp.fc1.weight", 0, &err)
	v.Layers = c.layers(layer + "layer_norm1.weight")
	positions := c.dim(layout.VisionPrefix+layout.PositionName, 0, &err)
	if err != nil {
		return err
	}
	side := int(math.Round(math.Sqrt(float64(positions))))
	if side*side != positions {
		return fmt.Errorf("the vision tower has %d positions, which make no square", positions)
	}
	v.ImageSize, v.ImageTokens = side*v.PatchSize, positions
	v.Mean, v.Std = [3]float32{0.5, 0.5, 0.5}, [3]float32{0.5, 0.5, 0.5}
	return nil
}

// dim returns a dimension of a tensor. The first that is missing is the error.
func (c *catalog) dim(name string, axis int, err *error) int {
	const most = 1 << 30
	e, ok := c.named[name]
	switch {
	case *err != nil:
	case !ok:
		*err = fmt.Errorf("tensor %s is missing: %s", name, c.advice.missing)
	case axis >= len(e.Shape) || e.Shape[axis] < 1 || e.Shape[axis] > most:
		*err = fmt.Errorf("tensor %s has the shape %v: %s", shown(e.Name), e.Shape, c.advice.misshapen)
	default:
		return int(e.Shape[axis])
	}
	return 0
}

// layers counts the layers that have a tensor.
func (c *catalog) layers(format string) int {
	n := 0
	for n < maxLayers && c.has(fmt.Sprintf(format, n)) {
		n++
	}
	return n
}

// findRelease finds the release whose dimensions a model has.
func (c *catalog) findRelease(m model.Config) (model.Config, bool) {
	rows := func(name string) int {
		var err error
		return c.dim(layout.TextPrefix+"layers.0.self_attn."+name+".weight", 0, &err)
	}
	for _, r := range model.Releases() {
		t := r.Text
		if r.Arch == m.Arch && t.Hidden == m.Text.Hidden && t.MLP == m.Text.MLP && t.Layers == m.Text.Layers &&
			t.Heads*t.HeadDim == rows("q_proj") && t.KVHeads*t.HeadDim == rows("k_proj") && r.Vision.Hidden == m.Vision.Hidden {
			return r, true
		}
	}
	return model.Config{}, false
}

// suggestPrefix is err, about config.json, or what to type where the weights of
// another model contain a PaliGemma, as the policies of robots do.
func suggestPrefix(checkpoint string, err error) error {
	ckpt, openErr := safetensors.OpenCheckpoint(checkpoint)
	if errors.Is(openErr, safetensors.ErrNoWeights) {
		return explainFolder(checkpoint, err)
	}
	if openErr != nil {
		return err
	}
	defer ckpt.Close()
	prefix := commonPrefix(ckpt.Tensors())
	if prefix == "" {
		return err
	}
	return because(err, "config.json is not a PaliGemma's, but the weights contain one: add --prefix %s, and --tokenizer if there is no tokenizer.json", shown(prefix))
}

// commonPrefix returns what the names of a PaliGemma's tensors begin with that lie
// among those of a larger model, with a dot at its end; "" if there are none.
func commonPrefix(entries []safetensors.Entry) string {
	names := make([]string, len(entries))
	for i, e := range entries {
		if names[i] = e.Name; retriever.MatchString(e.Name) {
			return ""
		}
	}
	return layout.CommonPrefix(names)
}

// dotted completes a prefix by the dot at its end.
func dotted(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, ".") {
		return prefix
	}
	return prefix + "."
}

// below keeps the tensors whose names begin with a prefix; all if it is "".
func (c *catalog) below(entries []safetensors.Entry, prefix string) ([]safetensors.Entry, error) {
	if prefix == "" {
		return entries, nil
	}
	var inside []safetensors.Entry
	var outside []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name, prefix) {
			inside = append(inside, e)
		} else {
			outside = append(outside, e.Name)
		}
	}
	if len(inside) == 0 {
		if common := commonPrefix(entries); common != "" {
			return nil, fmt.Errorf("no tensor's name begins with %s: use --prefix %s", shown(prefix), shown(common))
		}
		return nil, fmt.Errorf("no tensor's name begins with %s (the names are %s)", shown(prefix), few(slices.Sorted(slices.Values(outside))))
	}
	c.note(outside, "not below the prefix, is ignored", "not below the prefix, are ignored")
	return inside, nil
}

// errNoConfig reports whether an error of openConfig says that there is none of a
// PaliGemma.
func errNoConfig(err error) bool {
	return errors.Is(err, model.ErrNotPaliGemma) || errors.Is(err, fs.ErrNotExist)
}
