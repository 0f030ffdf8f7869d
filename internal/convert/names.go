package convert

import (
	"fmt"
	"slices"

	"paligemma/internal/layout"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
	"paligemma/internal/units"
)

// source is a tensor of the file and where its values come from.
type source struct {
	spec    model.TensorSpec
	entry   safetensors.Entry
	plusOne bool
}

// advice is what to do about tensors that are missing, misshapen or unknown.
type advice struct{ missing, misshapen, unknown string }

var (
	configAdvice = advice{
		missing:   "the checkpoint is incomplete or config.json another model's, save or download both again",
		misshapen: "use the config.json that was saved with the weights",
		unknown:   "config.json is not of the model that was saved",
	}
	shapesAdvice = advice{
		missing:   "the file is incomplete, save or download it again",
		misshapen: "the file is damaged or another model's",
		unknown:   "the file is another model's",
	}
	pairAdvice = advice{
		missing:   "the two files are not a whole PaliGemma, download both again or convert the checkpoint they were made from",
		misshapen: "the two files do not belong together",
		unknown:   "the files are another model's",
	}
)

// resolve finds the tensors of a configuration in a catalog. Whatever is missing
// or misshapen is in the one error; what is left over becomes notes.
func resolve(c model.Config, tensors *catalog) ([]source, error) {
	names := layout.Names(c)
	var all []source
	var missing, misshapen []string
	used := map[string]bool{}
	for _, spec := range c.Tensors() {
		n, ok := names[spec.Name]
		if !ok {
			return nil, fmt.Errorf("no name is known for the tensor %s", spec.Name)
		}
		used[n.HF] = true
		e, ok := tensors.named[n.HF]
		if !ok {
			missing = append(missing, n.HF)
			continue
		}
		all = append(all, source{spec, e, n.PlusOne})
	}
	if err := checkWeights(all); err != nil {
		return nil, err
	}
	for _, s := range all {
		if want := layout.Shape(c, s.spec); !slices.Equal(s.entry.Shape, want) {
			misshapen = append(misshapen, fmt.Sprintf("%s has the shape %v, want %v", shown(s.entry.Name), s.entry.Shape, want))
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s missing (%s): %s", units.Count(len(missing), "tensor is", "tensors are"), few(missing), tensors.advice.missing)
	}
	if len(misshapen) > 0 {
		return nil, fmt.Errorf("%s the wrong shape (%s): %s", units.Count(len(misshapen), "tensor has", "tensors have"), few(misshapen), tensors.advice.misshapen)
	}
	if c.Tied {
		used[layout.HeadName] = true // findHead told of it
	}
	return all, tensors.leftovers(used)
}
