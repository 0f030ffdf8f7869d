package convert

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"paligemma/internal/adapter"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/limits"
	"paligemma/internal/model"
	"paligemma/internal/units"
)

// merge is what adapters make of a model while it is written; nil: there are none.
type merge struct {
	*adapter.Resolution
	adapters []adapter.Loaded
	edits    map[string]adapter.Edit // by the tensor's name
	bias     map[string][]float32    // what is added to a bias, by its name
}

// newMerge resolves adapters against a configuration.
func newMerge(c model.Config, adapters []adapter.Loaded) (*merge, error) {
	if len(adapters) == 0 {
		return nil, nil
	}
	if err := checkMemory(adapters, limits.FreeMemory()); err != nil {
		return nil, err
	}
	r, err := adapter.Resolve(c, adapters)
	if err != nil {
		return nil, err
	}
	m := &merge{r, adapters, map[string]adapter.Edit{}, map[string][]float32{}}
	known := map[string]bool{}
	for _, spec := range r.Config.Tensors() {
		known[spec.Name] = true
	}
	for _, e := range r.Edits {
		m.edits[e.Tensor] = e
		if e.Bias == nil {
			continue
		}
		bias := strings.TrimSuffix(e.Tensor, ".weight") + ".bias"
		if !known[bias] {
			return nil, fmt.Errorf("the adapter adds a bias to %s (lora_bias), which has none in this model and cannot be merged: name the adapter with --lora where the model is asked", e.Tensor)
		}
		m.bias[bias] = e.Bias
	}
	return m, nil
}

// checkMemory makes sure that the low-rank updates fit into memory, before they are read:
// they are there as F32 until the file is written.
func checkMemory(adapters []adapter.Loaded, free limits.Memory) error {
	needs := int64(0)
	for _, l := range adapters {
		updates, _ := l.Weights()
		needs += 4 * updates
	}
	if has := min(free.Physical, free.Address, free.Data); needs > has {
		return fmt.Errorf("the updates of the adapters need %s of memory, and there is %s: merge one adapter after the other, or free memory", units.Bytes(needs), units.Bytes(has))
	}
	return nil
}

// changes reports whether the adapters change a tensor.
func (m *merge) changes(name string) bool {
	if m == nil {
		return false
	}
	_, edited := m.edits[name]
	_, biased := m.bias[name]
	return edited || biased
}

// replaces reports whether the adapters store a tensor whole.
func (m *merge) replaces(name string) bool { return m != nil && m.edits[name].Stored != nil }

// apply puts the adapters' changes between a tensor and its rows.
func (m *merge) apply(t *tensor) error {
	if !m.changes(t.Spec.Name) {
		return nil
	}
	t.ready = nil
	e := m.edits[t.Spec.Name]
	width := t.Spec.Shape[0]
	if e.Stored != nil {
		t.source, t.from = e.Stored.Name(), strings.ToLower(string(e.Stored.DType()))
		t.rows = storedRows{e.Stored}
	}
	if bias := m.bias[t.Spec.Name]; bias != nil {
		t.rows = addedRows{t.rows, bias, width}
	}
	for _, low := range e.LowRank {
		rows := updatedRows{t.rows, low, width, nil}
		if low.ByColumn {
			if err := rows.measure(t.height()); err != nil {
				return err
			}
		}
		t.rows = rows
	}
	return nil
}

// unchanged returns an error if an adapter was changed since it was opened.
func (m *merge) unchanged() error {
	if m == nil {
		return nil
	}
	for _, l := range m.adapters {
		if err := l.Unchanged(); err != nil {
			return err
		}
	}
	return nil
}

// storedRows are the rows of a tensor of an adapter.
type storedRows struct{ stored *adapter.Stored }

func (s storedRows) read(dst []float32, row int, lent *scratch) (err error) {
	lent.bytes, err = s.stored.Read(dst, row, lent.bytes)
	return err
}

// addedRows are rows with values added to them, that are laid out as they are.
type addedRows struct {
	base  rowSource
	added []float32
	width int
}

func (a addedRows) read(dst []float32, row int, lent *scratch) error {
	if err := a.base.read(dst, row, lent); err != nil {
		return err
	}
	for i, v := range a.added[row*a.width:][:len(dst)] {
		dst[i] += v
	}
	return nil
}

// updatedRows are rows of weights with a low-rank update: row i is W[i] + Scale·B[i]·A
// in F32, and of DoRA's length.
type updatedRows struct {
	base    rowSource
	low     model.LowRank
	width   int
	factors []float32 // of the columns, where the lengths are theirs
}

func (u updatedRows) read(dst []float32, row int, lent *scratch) error {
	if err := u.sum(dst, row, lent); err != nil {
		return err
	}
	if u.low.Magnitude == nil {
		return nil
	}
	for at := 0; at < len(dst); at += u.width {
		values := dst[at : at+u.width]
		if u.low.ByColumn {
			for j, f := range u.factors {
				values[j] *= f
			}
			continue
		}
		factor := lengthen(u.low.Magnitude[row+at/u.width], squares(values))
		for j := range values {
			values[j] *= factor
		}
	}
	return nil
}

// sum reads W + Scale·B·A.
func (u updatedRows) sum(dst []float32, row int, lent *scratch) error {
	if err := u.base.read(dst, row, lent); err != nil {
		return err
	}
	factors := u.low.B[row*u.low.Rank:][:len(dst)/u.width*u.low.Rank]
	return ggml.AddLowRank(dst, u.width, u.low.A, factors, u.low.Scale)
}

// squares returns the sum of the squares of values.
func squares(values []float32) float64 {
	var all float64
	for _, v := range values {
		all += float64(v) * float64(v)
	}
	return all
}

// lengthen returns what makes a vector, whose squares add up to squares, of a length.
// One that is zero stays so.
func lengthen(length float32, squares float64) float32 {
	if squares == 0 {
		return 0
	}
	return float32(float64(length) / math.Sqrt(squares))
}

// measure reads all rows once for the lengths of the columns.
func (u *updatedRows) measure(height int) error {
	all := make([]float64, u.width)
	step := max(1, chunkValues/u.width)
	values := make([]float32, min(step, height)*u.width)
	var lent scratch
	for row := 0; row < height; row += step {
		part := values[:min(step, height-row)*u.width]
		if err := u.sum(part, row, &lent); err != nil {
			return err
		}
		for i, v := range part {
			all[i%u.width] += float64(v) * float64(v)
		}
	}
	u.factors = make([]float32, u.width)
	for j := range u.factors {
		u.factors[j] = lengthen(u.low.Magnitude[j], all[j])
	}
	return nil
}

// Keys of adapters that were merged into a file, in the order in which they were.
const (
	keyAdapters      = "general.lora.names"
	keyAdapterScales = "general.lora.scales"
	keyAdapterBases  = "general.lora.bases" // what they say that they were trained on
)

// setKeys says in a file which adapters were merged into it. before has those of the
// file that it was made of; nil: it was none.
func (m *merge) setKeys(w *gguf.Writer, before *gguf.Header) {
	if !m.setsKeys() {
		return
	}
	var merged []MergedAdapter
	if before != nil {
		merged = MergedAdapters(before)
	}
	for _, l := range m.adapters {
		if l.Scale != 0 {
			merged = append(merged, MergedAdapter{l.Name(), l.Base(), float32(l.Scale)})
		}
	}
	var names, bases []string
	var scales []float32
	for _, a := range merged {
		names, bases, scales = append(names, a.Name), append(bases, a.Base), append(scales, a.Scale)
	}
	w.SetStrings(keyAdapters, names)
	w.SetFloat32s(keyAdapterScales, scales)
	w.SetStrings(keyAdapterBases, bases)
}

// setsKeys reports whether an adapter is merged into the file.
func (m *merge) setsKeys() bool {
	return m != nil && slices.ContainsFunc(m.adapters, func(l adapter.Loaded) bool { return l.Scale != 0 })
}

// MergedAdapter is an adapter that was merged into a file.
type MergedAdapter struct {
	Name  string // of its folder
	Base  string // what it was trained on; "" if it does not say
	Scale float32
}

// MergedAdapters returns the adapters that were merged into a file, by what it says.
func MergedAdapters(h *gguf.Header) []MergedAdapter {
	names, _ := h.Strings(keyAdapters)
	scales, _ := h.Float32s(keyAdapterScales)
	bases, _ := h.Strings(keyAdapterBases)
	if len(scales) != len(names) || len(bases) != len(names) {
		return nil
	}
	var all []MergedAdapter
	for i, name := range names {
		all = append(all, MergedAdapter{name, bases[i], scales[i]})
	}
	return all
}
