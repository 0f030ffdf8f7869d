package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"paligemma/internal/model"
)

const bicubic = 3 // PIL.Image.Resampling.BICUBIC

// readProcessor reads the image processor's numbers and settles the image's
// size, which releases leave out of config.json here and there: what
// vision_config says, else what the processor resizes to, else what the number
// of positions stands for.
func (s *settings) readProcessor(dir string, errs *[]error, vision object, positions int) error {
	v := &s.config.Vision
	v.Mean, v.Std = [3]float32{0.5, 0.5, 0.5}, [3]float32{0.5, 0.5, 0.5}
	p, found, err := openProcessor(dir, errs)
	if err != nil {
		return err
	}
	resized := 0
	tokens := 0
	if found {
		resized, tokens = s.checkProcessor(p, v)
	} else {
		s.notes = append(s.notes, "no preprocessor_config.json or processor_config.json: images are resized and normalized as the releases' are")
	}
	v.ImageSize = vision.int("image_size", resized)
	if v.ImageSize == 0 {
		v.ImageSize = int(math.Round(math.Sqrt(float64(positions)))) * v.PatchSize
	}
	if resized != 0 && v.ImageSize != resized {
		p.fail("size", "is %d pixels, but config.json's vision_config.image_size is %d: use the file that was saved with the weights", resized, v.ImageSize)
	}
	if v.PatchSize > 0 {
		v.ImageTokens = v.Patches() * v.Patches()
	}
	if tokens != 0 && v.PatchSize > 0 && tokens != v.ImageTokens {
		p.fail("image_seq_length", "is %d, but an image of %d pixels in patches of %d makes %d tokens", tokens, v.ImageSize, v.PatchSize, v.ImageTokens)
	}
	return nil
}

// openProcessor finds the image processor: in processor_config.json as
// transformers 5 writes it, else in preprocessor_config.json.
func openProcessor(dir string, errs *[]error) (p object, found bool, err error) {
	p, err = readObject(filepath.Join(dir, "processor_config.json"), errs)
	if err == nil && p.has("image_processor") {
		inner := p.object("image_processor")
		if !inner.has("image_seq_length") && p.has("image_seq_length") && inner.fields != nil {
			inner.fields["image_seq_length"] = p.fields["image_seq_length"]
		}
		return inner, true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, false, err
	}
	p, err = readObject(filepath.Join(dir, "preprocessor_config.json"), errs)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	return p, err == nil, err
}

// checkProcessor refuses a processor that does something else than squash
// bicubically, scale to 0…1 and normalize. It gives the side that images are
// resized to and the number of image tokens, 0 where they are not said.
func (s *settings) checkProcessor(p object, v *model.VisionConfig) (side, tokens int) {
	for _, key := range []string{"do_resize", "do_rescale", "do_normalize"} {
		if !p.bool(key, true) {
			p.fail(key, "is false, want true: images are resized, scaled to 0…1 and normalized")
		}
	}
	if n := p.int("resample", bicubic); n != bicubic {
		p.fail("resample", "is %d, want %d: images are resized bicubically, set it so if the model was trained that way", n, bicubic)
	}
	if f := p.float("rescale_factor", 1.0/255); math.Abs(f*255-1) > 1e-6 {
		p.fail("rescale_factor", "is %v, want 1/255: use the file that was saved with the weights", f)
	}
	v.Mean = p.floats3("image_mean", v.Mean)
	v.Std = p.floats3("image_std", v.Std)
	if slices.Min(v.Std[:]) <= 0 {
		p.fail("image_std", "is %v, want positive numbers", v.Std)
	}
	side, edge := p.square("size")
	if edge {
		s.notes = append(s.notes, fmt.Sprintf("%ssize names the shortest edge: images are squashed to a square of %d pixels, as PaliGemma's are", p.name, side))
	}
	// What crops or pads to the size that images have already changes nothing.
	for _, step := range []struct{ does, size string }{{"do_center_crop", "crop_size"}, {"do_pad", "pad_size"}} {
		if !p.bool(step.does, false) {
			continue
		}
		other, _ := p.square(step.size)
		if step.does == "do_pad" && !p.has(step.size) {
			continue
		}
		if edge || other != side || side == 0 {
			p.fail(step.does, "is true, want false or a %s that is the size images are squashed to", step.size)
		}
	}
	return side, p.int("image_seq_length", 0)
}

// square reads a size: {"height": S, "width": S}, [S, S], {"shortest_edge": S}
// or S alone; 0 if it is missing. It reports whether only an edge is named.
func (o object) square(key string) (side int, edge bool) {
	switch v := o.fields[key].(type) {
	case map[string]any:
		size := o.object(key)
		h, w := size.int("height", 0), size.int("width", 0)
		if h == 0 && w == 0 {
			h = size.int("shortest_edge", 0)
			w, edge = h, true
		}
		if h == w && h != 0 {
			return h, edge
		}
	case []any:
		if len(v) == 2 {
			h, tall := integer(v[0])
			w, wide := integer(v[1])
			if tall && wide && h == w && h != 0 {
				return h, false
			}
		}
	default:
		return o.int(key, 0), false
	}
	o.fail(key, "is %s, want an equal height and width", show(o.fields[key]))
	return 0, false
}
