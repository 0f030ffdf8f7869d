package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/units"
)

// modelSummary is what people ask about a PaliGemma first.
type modelSummary struct {
	Name        string         `json:"name,omitempty"`
	Family      string         `json:"family"`            // PaliGemma or PaliGemma 2
	Release     string         `json:"release,omitempty"` // the released model of its dimensions
	Type        string         `json:"type,omitempty"`    // as convert's --type
	Types       map[string]int `json:"types"`             // tensors of each type
	ImageSize   int            `json:"image_size"`        // pixels of a side
	ImageTokens int            `json:"image_tokens"`
	Context     int            `json:"context"` // tokens
	Masks       bool           `json:"masks"`   // the mask decoder is in the file
	Memory      int64          `json:"memory_bytes"`
	Sequences   int            `json:"sequences"` // that MemoryAll is for
	MemoryAll   int64          `json:"memory_sequences_bytes"`
	Provenance  []string       `json:"provenance,omitempty"`
	Adapters    []mergedLoRA   `json:"adapters,omitempty"` // that were merged into the weights
}

// mergedLoRA is an adapter that was merged into a model.
type mergedLoRA struct {
	Name  string  `json:"name"`
	Base  string  `json:"base,omitempty"` // what it was trained on
	Scale float32 `json:"scale"`
}

// summaryTokens are those of a prompt's text and its answer, for the memory needed.
const summaryTokens = 256

// summarize describes the PaliGemma in a file; nil: it is another model, or its
// configuration is unsound.
func summarize(f *gguf.File) *modelSummary {
	c, err := model.ReadConfig(f.Header)
	if err != nil {
		return nil
	}
	tokens := c.Vision.ImageTokens + summaryTokens
	s := &modelSummary{
		Name: c.Name, Family: "PaliGemma", Type: convert.TypeOf(f.Header), Types: map[string]int{},
		ImageSize: c.Vision.ImageSize, ImageTokens: c.Vision.ImageTokens, Context: c.Text.Context,
		Memory: int64(len(f.Bytes())) + c.WorkingMemory(tokens, 0), Sequences: engine.DefaultParallel,
		Provenance: provenance(f.Header),
	}
	s.MemoryAll = s.Memory + int64(s.Sequences-1)*c.SequenceMemory(tokens)
	if c.Arch == model.ArchPaliGemma2 {
		s.Family = "PaliGemma 2"
	}
	for _, r := range model.Releases() {
		if r.Arch == c.Arch && r.Text == c.Text && r.Vision.ImageSize == c.Vision.ImageSize {
			s.Release = r.Name
		}
	}
	for _, m := range convert.MergedAdapters(f.Header) {
		s.Adapters = append(s.Adapters, mergedLoRA(m))
	}
	for _, t := range f.Tensors {
		s.Types[t.Type.String()]++
	}
	_, s.Masks = f.Lookup(model.MaskTensors()[0].Name)
	return s
}

// provenance returns the keys that say where a model comes from, with their values.
func provenance(h *gguf.Header) []string {
	var list []string
	for _, key := range []string{"author", "organization", "basename", "finetune", "license", "source.url", "source.huggingface.repository"} {
		if text, err := h.ShortString("general." + key); err == nil && text != "" {
			list = append(list, key+" "+text)
		}
	}
	return list
}

// write prints the summary in lines of two columns; histogram says whether with the
// number of tensors of each type.
func (s *modelSummary) write(out io.Writer, encoder string, histogram bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(what, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", what, escapePath.Replace(shorten(fmt.Sprintf(format, args...))))
	}
	family := s.Family
	if s.Release != "" {
		family += ", as " + s.Release
	}
	row("family", "%s", family)
	if s.Name != "" {
		row("name", "%s", s.Name)
	}
	row("type", "%s", cmp.Or(s.Type, "not said")+s.histogram(histogram))
	row("pictures", "%d × %d pixels, %s", s.ImageSize, s.ImageSize, units.Count(s.ImageTokens, "token", "tokens"))
	row("context", "%s", units.Count(s.Context, "token", "tokens"))
	if s.Masks {
		row("masks", "the decoder is in the file")
	} else {
		row("masks", "no decoder: segment needs --mask-decoder vae-oid.npz")
	}
	row("memory", "%s for one answer at a time, %s for %d", units.Bytes(s.Memory), units.Bytes(s.MemoryAll), s.Sequences)
	fmt.Fprintf(w, "tokenizer\t%s\n", escapePath.Replace(encoder))
	if len(s.Provenance) > 0 {
		row("origin", "%s", strings.Join(s.Provenance, ", "))
	}
	for _, m := range s.Adapters {
		row("adapter", "%s, scale %g", m.Name, m.Scale)
	}
	return w.Flush()
}

// histogram lists how many tensors are of each type, the most frequent first.
func (s *modelSummary) histogram(wanted bool) string {
	if !wanted {
		return ""
	}
	var names []string
	for name := range s.Types {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Types[b], s.Types[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %s", units.Number(s.Types[name]), name)
	}
	return " (tensors: " + strings.Join(names, ", ") + ")"
}
