package adapter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"paligemma/internal/layout"
	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/safetensors"
)

// Edit is what adapters do to one tensor. Of its Change, Values is nil where Stored
// is not: they can be large, and are read in pieces.
type Edit struct {
	model.Change
	Stored *Stored // replaces the model's values; nil: they stay

	own bool // Stored stands next to the base's tensor, which another may share
}

// copyOnly reports whether the edit does nothing but replace values.
func (e *Edit) copyOnly() bool { return e.Stored != nil && len(e.LowRank) == 0 && e.Bias == nil }

// edits are edits by the tensors' names in the file.
type edits map[string]*Edit

// of returns the edit of a tensor, a new one if it has none.
func (all edits) of(tensor string) *Edit {
	e := all[tensor]
	if e == nil {
		e = &Edit{Change: model.Change{Tensor: tensor}}
		all[tensor] = e
	}
	return e
}

// Resolution is what adapters make of a model.
type Resolution struct {
	Config model.Config // of the result: Tied is false where the head becomes a matrix of its own
	Untied bool         // it does
	Edits  []Edit       // in file order
	Notes  []string     // what a user should know, one line each
}

// Resolve works out what adapters make of a model of a valid configuration, in
// their order. A tensor that has no place in the model, does not fit or is missing is
// an error that names the adapter and the tensor. A Scale of 0 leaves its adapter
// out; others multiply the low-rank updates: tensors that an adapter stores whole
// replace the model's.
func Resolve(c model.Config, adapters []Loaded) (*Resolution, error) {
	return resolve(c, adapters, (*Adapter).values)
}

// Extents returns what adapters change of a model, from the headers of their files. What
// Resolve refuses is an error here, too, values that are damaged left out.
func Extents(c model.Config, adapters []Loaded) ([]model.Extent, error) {
	none := func(*Adapter, safetensors.Tensor) ([]float32, error) { return []float32{}, nil }
	r, err := resolve(c, adapters, none)
	if err != nil {
		return nil, err
	}
	var all []model.Extent
	for _, e := range r.Edits {
		x := e.Extent()
		x.Values = e.Stored != nil
		all = append(all, x)
	}
	return all, nil
}

// resolve is Resolve, with values that read returns.
func resolve(c model.Config, adapters []Loaded, read func(*Adapter, safetensors.Tensor) ([]float32, error)) (*Resolution, error) {
	m := newTarget(c)
	sum := &sum{config: c, edits: edits{}, tie: true}
	for _, l := range adapters {
		r := resolver{target: m, adapter: l.Adapter, scale: l.Scale, read: read, edits: edits{}}
		if err := r.run(); err != nil {
			return nil, l.fail(err)
		}
		sum.notes = append(sum.notes, r.notes...)
		if l.Scale == 0 {
			continue
		}
		if err := sum.add(l, r.edits); err != nil {
			return nil, err
		}
	}
	return sum.result()
}

// target is a model that adapters are resolved against.
type target struct {
	config model.Config
	specs  map[string]model.TensorSpec // by the canonical name
	plus   map[string]bool             // canonical names of norms, stored as 1 + w
}

func newTarget(c model.Config) *target {
	m := &target{c, map[string]model.TensorSpec{}, map[string]bool{}}
	names := layout.Names(c)
	for _, spec := range c.Tensors() {
		n := names[spec.Name]
		m.specs[n.HF] = spec
		m.plus[n.HF] = n.PlusOne
		if spec.Name == model.TensorEmbedding && c.Tied {
			spec.Name = model.TensorHead
			m.specs[layout.HeadName] = spec
		}
	}
	return m
}

// shape returns the shape of a tensor in a checkpoint, outermost first.
func (m *target) shape(spec model.TensorSpec) []int64 { return layout.Shape(m.config, spec) }

// resolver resolves one adapter.
type resolver struct {
	*target
	adapter *Adapter
	scale   float64
	read    func(*Adapter, safetensors.Tensor) ([]float32, error) // values of an update
	edits   edits
	active  bool // an update is not zero
	notes   []string
}

func (r *resolver) run() error {
	if err := r.placed(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.adapter.updates)) {
		if err := r.update(name, r.adapter.updates[name]); err != nil {
			return err
		}
	}
	for _, c := range r.adapter.copies {
		if err := r.copy(c); err != nil {
			return err
		}
	}
	if err := r.complete(); err != nil {
		return err
	}
	r.note()
	return nil
}

// placed reports the first tensor that has no place in the model, before what is
// missing in its stead.
func (r *resolver) placed() error {
	for _, name := range slices.Sorted(maps.Keys(r.adapter.updates)) {
		if _, ok := r.specs[name]; !ok {
			return r.unknown(r.adapter.updates[name].tensor())
		}
	}
	for _, c := range r.adapter.copies {
		known := func(name string) bool { _, ok := r.specs[name]; return ok || layout.IsBuffer(name) }
		if !slices.ContainsFunc(c.names, known) {
			return r.unknown(c.tensor.Name)
		}
	}
	return nil
}

// update resolves a low-rank update. name is the weight's.
func (r *resolver) update(name string, u *update) error {
	spec := r.specs[name]
	rank, err := r.adapter.config.rankOf(u.path)
	if err != nil {
		return err
	}
	scale, err := r.adapter.config.scaleOf(u.path, rank)
	if err != nil {
		return err
	}
	shape := r.shape(spec)
	embeds := isEmbedding(name)
	if u.embedding() != embeds || spec.Role == model.RoleVector && !embeds {
		other := u.first(partEmbeddingA, partEmbeddingB, partA, partB, partMagnitude, partBias)
		return fmt.Errorf("tensor %s is an update of another kind of layer than %s: the adapter was made for another model", shown(other), u.module)
	}
	for _, w := range r.wanted(u, shape, int64(rank)) {
		if err := r.check(u, w); err != nil {
			return err
		}
	}
	if r.scale == 0 {
		return nil
	}
	return r.apply(spec, u, shape, rank, scale*r.scale)
}

// isEmbedding reports whether a weight is a table of embeddings.
func isEmbedding(name string) bool {
	return name == layout.EmbeddingName || name == layout.VisionPrefix+layout.PositionName
}

// wantedPart is a tensor that an update must have or must not have.
type wantedPart struct {
	part   string
	wanted bool
	why    string  // what in the configuration says so
	shape  []int64 // outermost first
	rankAt int     // the dimension that is the rank; -1: none
}

// wanted lists the parts of an update of a weight of a shape.
func (r *resolver) wanted(u *update, shape []int64, rank int64) []wantedPart {
	c := r.adapter.config
	out, rest := shape[0], shape[1:]
	if u.embedding() {
		return []wantedPart{
			{partEmbeddingA, true, "", []int64{rank, out}, 0},
			{partEmbeddingB, true, "", []int64{rest[0], rank}, 1},
			{partMagnitude, c.dora, "use_dora", rest[:1], -1},
			{partA, false, "", nil, -1},
			{partB, false, "", nil, -1},
			{partBias, false, "lora_bias", nil, -1},
		}
	}
	ones := slices.Repeat([]int64{1}, len(rest)-1) // of a convolution
	magnitude := []int64{out}
	if len(ones) > 0 {
		magnitude = slices.Concat([]int64{1}, magnitude, ones)
	}
	return []wantedPart{
		{partA, true, "", slices.Concat([]int64{rank}, rest), 0},
		{partB, true, "", slices.Concat([]int64{out, rank}, ones), 1},
		{partMagnitude, c.dora, "use_dora", magnitude, -1},
		{partBias, c.loraBias, "lora_bias", []int64{out}, -1},
	}
}

// check compares a part of an update with what it must be.
func (r *resolver) check(u *update, w wantedPart) error {
	t, there := u.parts[w.part]
	switch {
	case there && !w.wanted && w.why != "":
		return fmt.Errorf("tensor %s is there, but %s is not set in %s: use the one that was saved with the weights", shown(t.Name), w.why, ConfigName)
	case there && !w.wanted:
		return fmt.Errorf("tensor %s does not belong to the update of an embedding", shown(t.Name))
	case !there && w.wanted && w.why != "":
		return fmt.Errorf("%s of %s is missing, though %s is set: download or save the adapter again", w.part, shown(u.path), w.why)
	case !there && w.wanted:
		return fmt.Errorf("%s of %s is missing next to %s: download or save the adapter again", w.part, shown(u.path), shown(u.tensor()))
	case !there:
		return nil
	}
	return r.checkShape(t, w.shape, w.rankAt)
}

// checkShape compares a tensor's shape with the one that fits the model.
func (r *resolver) checkShape(t safetensors.Tensor, want []int64, rankAt int) error {
	if slices.Equal(t.Shape, want) {
		return nil
	}
	if rankAt >= 0 && len(t.Shape) == len(want) {
		other := slices.Clone(want)
		other[rankAt] = t.Shape[rankAt]
		if slices.Equal(t.Shape, other) {
			return fmt.Errorf("tensor %s has the rank %d, and %s says %d: use the one that was saved with the weights", shown(t.Name), other[rankAt], ConfigName, want[rankAt])
		}
	}
	base := ""
	if r.adapter.config.base != "" {
		base = " (" + quote.Short(r.adapter.config.base) + ")"
	}
	return fmt.Errorf("tensor %s has the shape %v, and the model wants %v: the adapter was made for a base of other dimensions%s", shown(t.Name), t.Shape, want, base)
}

// unknown says that a tensor has no place in the model.
func (r *resolver) unknown(tensor string) error {
	of := "another model"
	if r.adapter.config.base != "" {
		of = quote.Short(r.adapter.config.base)
	}
	return fmt.Errorf("tensor %s has no place in this model (%s): the adapter was made for %s", shown(tensor), r.config.Arch, of)
}

// apply reads an update and adds it to the edits.
func (r *resolver) apply(spec model.TensorSpec, u *update, shape []int64, rank int, scale float64) error {
	low := model.LowRank{Rank: rank, Scale: float32(scale)}
	var err error
	read := func(part string) []float32 {
		t, there := u.parts[part]
		if !there || err != nil {
			return nil
		}
		var values []float32
		values, err = r.read(r.adapter, t)
		return values
	}
	if u.embedding() {
		low.A = transposed(read(partEmbeddingB), rank)
		low.B = transposed(read(partEmbeddingA), int(shape[0]))
	} else {
		low.A, low.B = read(partA), read(partB)
	}
	low.Magnitude = read(partMagnitude)
	low.ByColumn = u.embedding() && low.Magnitude != nil
	bias := read(partBias)
	if err != nil {
		return err
	}
	r.active = r.active || low.Magnitude != nil || bias != nil || low.Scale != 0 && !zero(low.A) && !zero(low.B)
	e := r.edits.of(spec.Name)
	e.LowRank = append(e.LowRank, low)
	for i := range bias {
		bias[i] *= low.Scale
	}
	e.Bias = bias
	return nil
}

// zero reports whether all values are 0.
func zero(values []float32) bool {
	return !slices.ContainsFunc(values, func(v float32) bool { return v != 0 })
}

// transposed returns the columns of a matrix, whose rows have width values, as rows.
func transposed(values []float32, width int) []float32 {
	if width == 0 {
		return values
	}
	height := len(values) / width
	out := make([]float32, len(values))
	for i := range height {
		for j := range width {
			out[j*height+i] = values[i*width+j]
		}
	}
	return out
}

// copy resolves a tensor that replaces one of the model.
func (r *resolver) copy(c copied) error {
	for _, name := range c.names {
		spec, ok := r.specs[name]
		if !ok {
			continue
		}
		if err := r.checkShape(c.tensor, r.shape(spec), -1); err != nil {
			return err
		}
		e := r.edits.of(spec.Name)
		if e.Stored != nil {
			return fmt.Errorf("tensors %s and %s both replace %s: save the adapter again", shown(e.Stored.tensor.Name), shown(c.tensor.Name), name)
		}
		e.Stored = &Stored{adapter: r.adapter, tensor: c.tensor, width: spec.Shape[0], plusOne: r.plus[name]}
		e.own = !c.base && (c.saved || within(name, r.adapter.config.saved))
		return nil
	}
	return nil // a buffer, which is computed
}

// within reports whether a tensor lies in one of the modules, whose names end with
// what is given.
func within(tensor string, modules []string) bool {
	return slices.ContainsFunc(modules, func(m string) bool {
		return m != "" && strings.Contains("."+tensor, "."+m+".")
	})
}

// complete reports the first tensor that the configuration promises and the file
// lacks.
func (r *resolver) complete() error {
	c := r.adapter.config
	for _, name := range slices.Sorted(maps.Keys(r.specs)) {
		module := strings.TrimSuffix(name, ".bias")
		_, updated := r.adapter.updates[module+".weight"]
		switch {
		case r.replaced(name):
		case within(name, c.saved):
			return fmt.Errorf("tensor %s is missing, though modules_to_save names it: download or save the adapter again", name)
		case module != name && (c.bias == "all" || c.bias == "lora_only" && updated):
			return fmt.Errorf("tensor %s is missing, though bias is %s: download or save the adapter again", name, c.bias)
		}
	}
	return nil
}

// replaced reports whether a tensor of the adapter replaces one of that name.
func (r *resolver) replaced(name string) bool {
	e := r.edits[r.specs[name].Name]
	return e != nil && e.Stored != nil
}

// shown returns the name of a tensor in a message: long enough for PEFT's.
func shown(name string) string { return quote.Line(name, 150) }
