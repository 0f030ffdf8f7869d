package adapter

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"paligemma/internal/folder"
	"paligemma/internal/layout"
	"paligemma/internal/quote"
	"paligemma/internal/safetensors"
)

// Summary is what is in an adapter, for humans and programs.
type Summary struct {
	Base       string    `json:"base,omitempty"`            // what it was trained on
	Version    string    `json:"peft_version,omitempty"`    // that wrote it
	Modules    int       `json:"modules"`                   // that have a low-rank update
	Targets    []Target  `json:"targets"`                   // of which kinds they are
	Ranks      []int     `json:"ranks"`                     // different ones, sorted
	Scales     []float64 `json:"scales"`                    // factors of B·A, different ones, sorted
	Variants   []string  `json:"variants,omitempty"`        // rslora, dora, lora_bias, bias_all, bias_lora_only
	Saved      []string  `json:"modules_to_save,omitempty"` // modules that were trained whole
	Replaced   int       `json:"tensors_replaced"`          // tensors that are stored whole
	Parameters int64     `json:"parameters"`
}

// Target is a kind of module that has updates, in one part of the model.
type Target struct {
	Part  string `json:"part"` // text, vision, projector or head
	Name  string `json:"name"` // such as q_proj
	Count int    `json:"count"`
}

// String returns the target as in "vision q_proj ×27".
func (t Target) String() string { return fmt.Sprintf("%s %s ×%d", t.Part, t.Name, t.Count) }

// Summary describes the adapter.
func (a *Adapter) Summary() (*Summary, error) {
	c := a.config
	s := &Summary{Base: c.base, Version: c.version, Modules: len(a.updates), Targets: []Target{}, Ranks: []int{}, Scales: []float64{}, Saved: c.saved, Replaced: len(a.copies)}
	ranks, scales := map[int]bool{}, map[float64]bool{}
	counts := map[Target]int{}
	for _, u := range a.updates {
		rank, err := c.rankOf(u.path)
		if err != nil {
			return nil, a.fail(err)
		}
		scale, err := c.scaleOf(u.path, rank)
		if err != nil {
			return nil, a.fail(err)
		}
		ranks[rank], scales[scale] = true, true
		counts[Target{Part: partOf(u.module), Name: u.module[strings.LastIndexByte(u.module, '.')+1:]}]++
	}
	s.Ranks, s.Scales = slices.AppendSeq(s.Ranks, maps.Keys(ranks)), slices.AppendSeq(s.Scales, maps.Keys(scales))
	slices.Sort(s.Ranks)
	slices.Sort(s.Scales)
	for t, n := range counts {
		t.Count = n
		s.Targets = append(s.Targets, t)
	}
	slices.SortFunc(s.Targets, func(x, y Target) int {
		return strings.Compare(x.Part+" "+x.Name, y.Part+" "+y.Name)
	})
	for _, v := range []struct {
		name string
		is   bool
	}{{"rslora", c.rsLoRA}, {"dora", c.dora}, {"lora_bias", c.loraBias}, {"bias_" + c.bias, c.bias != "none"}} {
		if v.is {
			s.Variants = append(s.Variants, v.name)
		}
	}
	updates, stored := a.Weights()
	s.Parameters = updates + stored
	return s, nil
}

// LowRankOnly reports whether the adapter does nothing but add products of low rank to
// those of matrices: it replaces no tensor, adds no bias, has no DoRA, and leaves the
// token embedding, the head and the positions as they are.
func (a *Adapter) LowRankOnly() bool {
	c := a.config
	if c.dora || c.loraBias || slices.ContainsFunc(a.copies, func(c copied) bool { return !slices.ContainsFunc(c.names, layout.IsBuffer) }) {
		return false
	}
	for _, u := range a.updates {
		if u.embedding() || isEmbedding(u.module+".weight") || u.module+".weight" == layout.HeadName {
			return false
		}
	}
	return true
}

// Weights counts the weights of low-rank updates, and those of tensors that are stored
// whole.
func (a *Adapter) Weights() (updates, stored int64) {
	for _, u := range a.updates {
		for _, t := range u.parts {
			updates += t.Elements()
		}
	}
	for _, c := range a.copies {
		stored += c.tensor.Elements()
	}
	return updates, stored
}

// partOf returns the part of the model that a module belongs to.
func partOf(module string) string {
	switch {
	case strings.HasPrefix(module, layout.TextPrefix):
		return "text"
	case strings.HasPrefix(module, layout.VisionPrefix):
		return "vision"
	case strings.HasPrefix(module, layout.ProjectorPrefix):
		return "projector"
	case module+".weight" == layout.HeadName:
		return "head"
	}
	return "other"
}

// Tensors returns the tensors in the order of the file.
func (a *Adapter) Tensors() []safetensors.Tensor { return slices.Clone(a.file.Tensors) }

// ReadAt fills p from off bytes into a tensor's data.
func (a *Adapter) ReadAt(t safetensors.Tensor, p []byte, off int64) error {
	return a.file.ReadAt(t, p, off)
}

// ConfigPath returns the path of the configuration.
func (a *Adapter) ConfigPath() string { return filepath.Join(filepath.Dir(a.file.Path()), ConfigName) }

// Files lists the paths of the adapter's two files.
func (a *Adapter) Files() []string { return []string{a.ConfigPath(), a.file.Path()} }

// IsAdapter reports whether a path is the folder of an adapter, and not of a whole
// checkpoint, or an adapter's configuration.
func IsAdapter(path string) bool {
	if filepath.Base(path) == ConfigName {
		return folder.Exists(path)
	}
	path, err := folder.Snapshot(path)
	return err == nil && folder.Exists(filepath.Join(path, ConfigName)) && IsAlone(folder.List(path))
}

// IsAlone reports whether the files of a folder are of an adapter, without weights of a
// whole checkpoint next to it.
func IsAlone(names []string) bool {
	return (slices.Contains(names, WeightsName) || slices.Contains(names, ConfigName)) && !slices.ContainsFunc(names, func(name string) bool {
		return name != WeightsName && (strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".safetensors.index.json"))
	})
}

// Describe returns the lines that say what is in the adapter: pairs of a word and what
// it is.
func (s *Summary) Describe() [][2]string {
	var rows [][2]string
	add := func(what, format string, args ...any) {
		rows = append(rows, [2]string{what, fmt.Sprintf(format, args...)})
	}
	if s.Base != "" {
		add("base", "%s", quote.Line(s.Base, quote.Max))
	}
	add("changes", "%s", s.changes())
	if s.Modules > 0 {
		add("rank", "%s", strings.Trim(fmt.Sprint(s.Ranks), "[]"))
		add("scale", "%s", strings.Trim(fmt.Sprint(s.Scales), "[]"))
	}
	if len(s.Variants) > 0 {
		add("kind", "%s", strings.Join(s.Variants, ", "))
	}
	if len(s.Saved) > 0 {
		add("saved", "%s", few(s.Saved))
	}
	if s.Version != "" {
		add("written by", "PEFT %s", quote.Line(s.Version, quote.Max))
	}
	return rows
}

// changes says what the adapter changes.
func (s *Summary) changes() string {
	var list []string
	for _, t := range s.Targets {
		list = append(list, t.String())
	}
	if s.Replaced > 0 {
		list = append(list, fmt.Sprintf("%d tensors replaced", s.Replaced))
	}
	return strings.Join(list, ", ")
}
