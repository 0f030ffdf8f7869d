package model

import (
	"fmt"
	"slices"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// Model is a PaliGemma ready to run. It is not safe for concurrent use.
type Model struct {
	config  Config
	weights Weights
	backend *ggml.Backend
	store   *ggml.Store
	slots   map[string]slot // where the tensors are, by their names

	changed  *ggml.Store            // what the adapters of Load bring; nil without any
	updates  ggml.Updates           // of these, for all rows
	adapters map[*Adapters]struct{} // those in memory for texts that ask for them

	embedding embedding
	blocks    []block // weights.Gemma or weights.Gemma2
	options   ggml.GraphOptions
	onDevice  bool                       // embeddings are looked up by the device, where features of images stay
	shelf     *shelf                     // of such features; nil before the first
	encodings recordings[int, *encoding] // by the number of images
}

// Load binds the tensors of a file, and what adapters change in them, to a model that
// computes on e. The file and the backend must outlive the model, which the caller
// closes first. A missing, unknown or misshapen tensor is an error that names it.
func Load(f *gguf.File, e *ggml.Backend, changes ...Change) (*Model, error) {
	return LoadPlan(f, e, Plan{}, changes...)
}

// LoadPlan is Load with a plan for the devices of e, which are those of its shares.
func LoadPlan(f *gguf.File, e *ggml.Backend, p Plan, changes ...Change) (*Model, error) {
	config, err := ReadConfig(f.Header)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(), err)
	}
	m := &Model{config: config, backend: e, slots: map[string]slot{}, adapters: map[*Adapters]struct{}{}}
	if err := m.bind(f, p); err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", f.Path(), err)
	}
	if err := m.adapt(f, changes); err != nil {
		m.Close()
		return nil, err
	}
	if err := m.joinBiases(); err != nil {
		m.Close()
		return nil, err
	}
	m.onDevice = len(e.Devices()) == 1 && m.masked() && !m.embedding.changed && e.LooksUp(m.weights.Embedding.tensor)
	return m, nil
}

// bind checks the file's tensors and places them by a plan.
func (m *Model) bind(f *gguf.File, p Plan) error {
	if err := m.config.CheckTensors(f.Header); err != nil {
		return err
	}
	var specs []ggml.Spec
	m.options.Exact = true // where every matrix is F32, so is all else
	m.config.walk(&m.weights, func(spec TensorSpec, s slot) {
		t, _ := f.Lookup(spec.Name)
		m.options.Exact = m.options.Exact && t.Type == gguf.TypeF32
		specs = append(specs, ggml.Spec{Name: t.Name, Type: t.Type, Shape: t.Shape, Data: f.Data(t), Place: p.place(spec)})
		m.slots[spec.Name] = s
		if spec.Name == TensorEmbedding {
			m.embedding = newEmbedding(t, f.Data(t))
		}
	})
	var mapping []byte
	if f.OffHeap() {
		mapping = f.Bytes()
	}
	var err error
	if m.store, err = m.backend.NewWeights(specs, mapping); err != nil {
		return err
	}
	for i, t := range m.store.Tensors() {
		*m.slots[specs[i].Name].tensor = t
	}
	for i := range m.weights.Gemma {
		m.blocks = append(m.blocks, &m.weights.Gemma[i])
	}
	for i := range m.weights.Gemma2 {
		m.blocks = append(m.blocks, &m.weights.Gemma2[i])
	}
	return m.join()
}

// join makes one matrix of each layer's Q, K and V where they lie side by side.
func (m *Model) join() error {
	return joinEach(m, m.projections(), (*QKV).tensors, func(w *QKV, joined ggml.Tensor) { w.joined.tensor = joined })
}

// joinBiases makes one tensor of the biases of each layer's Q, K and V where they lie side by
// side, after adapters have put others in their places.
func (m *Model) joinBiases() error {
	var layers []*SiglipLayer
	for i := range m.weights.Vision.Layers {
		layers = append(layers, &m.weights.Vision.Layers[i])
	}
	return joinEach(m, layers, (*SiglipLayer).biases, func(l *SiglipLayer, joined ggml.Tensor) { l.bias = joined })
}

// joinEach joins some tensors of each layer, and sets what they are together: the zero Tensor
// where they lie apart.
func joinEach[L any](m *Model, layers []L, tensors func(L) []ggml.Tensor, set func(L, ggml.Tensor)) error {
	groups := make([][]ggml.Tensor, len(layers))
	for i, l := range layers {
		groups[i] = tensors(l)
	}
	joined, err := m.store.Join(groups)
	if err != nil {
		return err
	}
	for i, l := range layers {
		set(l, joined[i])
	}
	return nil
}

// projections are the QKV of all layers, the tower's first.
func (m *Model) projections() (all []*QKV) {
	for i := range m.weights.Vision.Layers {
		all = append(all, &m.weights.Vision.Layers[i].QKV)
	}
	for _, b := range m.blocks {
		all = append(all, &b.attention().QKV)
	}
	return all
}

// CheckTensors compares the tensors that a file declares with those that the
// configuration, which must be valid, calls for: whatever is missing, misshapen,
// of a wrong type or unknown is in the one error. A mask decoder is optional.
func (c Config) CheckTensors(h *gguf.Header) error {
	specs := c.Tensors()
	if HasMaskDecoder(h) {
		for _, t := range MaskTensors() {
			specs = append(specs, t.Spec())
		}
	}
	var errs []error
	known := map[string]bool{}
	for _, spec := range specs {
		known[spec.Name] = true
		if t, ok := h.Lookup(spec.Name); !ok {
			errs = append(errs, fmt.Errorf("tensor %s is missing", spec.Name))
		} else if err := spec.check(t); err != nil {
			errs = append(errs, err)
		}
	}
	for _, t := range h.Tensors {
		if !known[t.Name] {
			errs = append(errs, fmt.Errorf("tensor %s is unknown", t.Name))
		}
	}
	return joinFirst(errs)
}

// joinFirst is joinLines of the first errors: a file of another model would give
// hundreds.
func joinFirst(errs []error) error {
	const most = 8
	if n := len(errs); n > most {
		errs = append(errs[:most], fmt.Errorf("and %d more such errors", n-most))
	}
	return joinLines(errs)
}

// check compares a tensor of the file with what the configuration wants.
func (s TensorSpec) check(t gguf.Tensor) error {
	want := make([]int64, len(s.Shape))
	for i, d := range s.Shape {
		want[i] = int64(d)
	}
	switch s.Role {
	case RoleVector:
		if t.Type != gguf.TypeF32 {
			return fmt.Errorf("tensor %s is %v, want f32", s.Name, t.Type)
		}
	case RoleKernel:
		if t.Type != gguf.TypeF32 && t.Type != gguf.TypeF16 {
			return fmt.Errorf("tensor %s is %v, want f32 or f16", s.Name, t.Type)
		}
	case RoleMatrix:
		if !ggml.MatrixType(t.Type) {
			return fmt.Errorf("tensor %s is %v, which this program does not compute with", s.Name, t.Type)
		}
		want[0] = PaddedRow(s.Shape[0], t.Type)
	}
	if !slices.Equal(t.Shape, want) {
		return fmt.Errorf("tensor %s has the shape %v, want %v", s.Name, t.Shape, want)
	}
	return nil
}

// PaddedRow is the length that rows of n values are stored with in type t: n
// rounded up to whole blocks, with zeros after the n.
func PaddedRow(n int, t gguf.Type) int64 {
	block := int64(t.BlockSize())
	return (int64(n) + block - 1) / block * block
}

// Config is the model's configuration.
func (m *Model) Config() Config { return m.config }

// Options returns what the model's graphs are made with. They are Exact where every
// weight is F32.
func (m *Model) Options() ggml.GraphOptions { return m.options }

// Close frees what the model placed; the file and the backend stay open.
func (m *Model) Close() {
	m.encodings.forget()
	for a := range m.adapters {
		a.Close()
	}
	for _, s := range []**ggml.Store{&m.store, &m.changed} {
		if *s != nil {
			(*s).Close()
			*s = nil
		}
	}
	m.shelf.close()
	m.shelf = nil
}
