package adapter

import (
	"slices"
	"strings"
	"testing"
)

// TestNotes tells what a user should know.
func TestNotes(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*files)
		scale  float64
		want   string
	}{
		{"another name", func(f *files) { f.config["base_model_name_or_path"] = "google/paligemma-3b-pt-224" }, 1, "made for"},
		{"the same name", func(f *files) { f.config["base_model_name_or_path"] = "/data/PG1-Tiny" }, 1, ""},
		{"no name", func(f *files) { f.config["base_model_name_or_path"] = nil }, 1, ""},
		{"unknown settings", func(f *files) { f.config["use_magic"] = true; f.config["nothing"] = []any{} }, 1, `"use_magic"`},
		{"a target without tensors", func(f *files) { f.config["target_modules"] = []any{"q_proj", "gate_proj", "no_such"} }, 1, `target_modules: "gate_proj"`},
		{"targets", func(f *files) { f.config["target_modules"] = []any{"q_proj", "self_attn.v_proj", "no_such"} }, 1, ""},
		{"an alpha of 0", func(f *files) { f.config["lora_alpha"] = 0; f.config["alpha_pattern"] = nil }, 1, "are zero and change nothing"},
		{"one alpha that is not 0", func(f *files) { f.config["lora_alpha"] = 0 }, 1, ""},
		{"a scale that vanishes in F32", func(f *files) {}, 1e-60, "are zero and change nothing"},
		{"not trained", func(f *files) {
			for i := range f.tensors {
				if strings.Contains(f.tensors[i].Name, partB) {
					clear(f.tensors[i].Bytes)
				}
			}
		}, 1, "are zero and change nothing"},
		{"a scale of saved modules", func(*files) {}, 0.5, "low-rank updates"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := load(t, "lora")
			test.change(f)
			_, notes, err := f.changes(tiny(), test.scale)
			if err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(notes, "\n"); test.want == "" && all != "" || !strings.Contains(all, test.want) {
				t.Errorf("notes %q, want %q", all, test.want)
			}
		})
	}
}

// TestHeadNote says what a head takes where a file is written, and only there. Other
// notes stay.
func TestHeadNote(t *testing.T) {
	f := load(t, "head")
	f.config["base_model_name_or_path"] = "another"
	a, err := Open(f.save())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	loaded := []Loaded{{a, 1}}
	r, err := Resolve(tiny(), loaded)
	if err != nil {
		t.Fatal(err)
	}
	_, notes, err := Changes(tiny(), loaded)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "made for") || !slices.Equal(r.Notes, notes) {
		t.Errorf("notes %q", notes)
	}
	if all := r.FileNotes(); len(all) != 2 || all[0] != notes[0] || !strings.Contains(all[1], "143,360 weights more") {
		t.Errorf("notes of a file %q", all)
	}
}
