package convert

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"

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
		resized, tokens = checkProcessor(p, v)
	} else {
		s.notes = append(s.notes, "no preprocessor_config.json or processor_config.json: images are resized and normalised as the releases' are")
	}
	v.ImageSize = vision.int("image_size", resized)
	if v.ImageSize == 0 {
		v.ImageSize = int(math.Round(math.Sqrt(float64(positions)))) * v.PatchSize
	}
	if resized != 0 && v.ImageSize != resized {
		p.fail("size", "is %d pixels, but config.json's vision_config.image_size is %d", resized, v.ImageSize)
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
// bicubically, scale to 0…1 and normalise. It gives the side that images are
// resized to and the number of image tokens, 0 where they are not said.
func checkProcessor(p object, v *model.VisionConfig) (size, tokens int) {
	for _, step := range []struct {
		key  string
		want bool
	}{{"do_resize", true}, {"do_rescale", true}, {"do_normalize", true}, {"do_center_crop", false}, {"do_pad", false}} {
		if p.bool(step.key, step.want) != step.want {
			p.fail(step.key, "is %v, want %v", !step.want, step.want)
		}
	}
	if n := p.int("resample", bicubic); n != bicubic {
		p.fail("resample", "is %d, want %d (bicubic)", n, bicubic)
	}
	if f := p.float("rescale_factor", 1.0/255); math.Abs(f*255-1) > 1e-6 {
		p.fail("rescale_factor", "is %v, want 1/255", f)
	}
	v.Mean = p.floats3("image_mean", v.Mean)
	v.Std = p.floats3("image_std", v.Std)
	return squareSize(p), p.int("image_seq_length", 0)
}

// squareSize reads {"height": S, "width": S}, or S alone; 0 if it is missing.
func squareSize(p object) int {
	if _, ok := p.fields["size"].(map[string]any); !ok {
		return p.int("size", 0)
	}
	size := p.object("size")
	h, w := size.int("height", 0), size.int("width", 0)
	if h != w || h == 0 {
		p.fail("size", "is %s, want an equal height and width", show(p.fields["size"]))
		return 0
	}
	return h
}
