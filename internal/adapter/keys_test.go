package adapter

import (
	"testing"
)

// FuzzKey takes names of tensors apart.
func FuzzKey(f *testing.F) {
	f.Add("base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.default.weight")
	f.Add("base_model.model.model.multi_modal_projector.modules_to_save.default.linear.bias")
	f.Fuzz(func(t *testing.T, name string) {
		k, err := parseKey(name)
		if err == nil && k.part == "" && len(k.copies) == 0 {
			t.Errorf("%q is nothing", name)
		}
	})
}
