package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"paligemma/internal/gguf"
)

// Place is a device that a model may be placed on.
type Place struct {
	Name string
	Host bool  // the CPU
	Free int64 // bytes of memory that are free; 0: the device does not say
}

// Split says how the layers of the language model are dealt out to devices, in the order
// of both. The zero value goes by the memory that is free: the CPU, if it is among them,
// gets what has no room elsewhere, and the others are filled evenly.
type Split struct {
	Shares []float64 // of each device; where they add up to the number of layers, they are layers
	Last   int       // in place of Shares, of two devices: layers of the second
}

// Plan is where a model's tensors lie. With fewer than two shares they all lie on the
// first device of a backend.
type Plan struct {
	Shares []Share `json:"devices"`
}

// Share is what one device holds and computes: whole layers of the language model with
// their keys and values.
type Share struct {
	Device   string `json:"device"`
	First    int    `json:"first_layer"`
	Layers   int    `json:"layers"`
	Vision   bool   `json:"vision"`        // tower and projector
	Head     bool   `json:"head"`          // final norm and logits
	Weights  int64  `json:"weights_bytes"` // this and the following in bytes
	Adapters int64  `json:"adapters_bytes,omitempty"`
	Cache    int64  `json:"cache_bytes"`
	Compute  int64  `json:"compute_bytes"`         // an estimate of all else that a computation needs
	Free     int64  `json:"memory_free,omitempty"` // 0: the device does not say
	Host     bool   `json:"-"`                     // the CPU
}

// Needs returns the memory that the share takes, in bytes.
func (s Share) Needs() int64 { return s.Weights + s.Adapters + s.Cache + s.Compute }

// missing is by how much that is more than there is.
func (s Share) missing() int64 {
	if s.Free == 0 {
		return 0
	}
	return max(0, s.Needs()-s.Free)
}

// used reports whether there is anything to compute.
func (s Share) used() bool { return s.Layers > 0 || s.Vision }

// Short returns the first share that needs more than its device has, those of the CPU left
// out: its memory is also that of files.
func (p Plan) Short() (Share, bool) {
	for _, s := range p.Shares {
		if !s.Host && s.missing() > 0 {
			return s, true
		}
	}
	return Share{}, false
}

// Host reports whether the CPU has a share.
func (p Plan) Host() bool { return slices.ContainsFunc(p.Shares, func(s Share) bool { return s.Host }) }

// Devices lists the names of the shares, as ggml.FindDevices takes them.
func (p Plan) Devices() string {
	names := make([]string, len(p.Shares))
	for i, s := range p.Shares {
		names[i] = s.Device
	}
	return strings.Join(names, ",")
}

// place is the index of the device that a tensor lies on.
func (p Plan) place(spec TensorSpec) int {
	for i, s := range p.Shares {
		switch layer := spec.textLayer(); {
		case layer >= s.First && layer < s.First+s.Layers,
			spec.vision() && s.Vision,
			layer < 0 && !spec.vision() && s.Head:
			return i
		}
	}
	return 0
}

// vision reports whether a tensor is the tower's or the projector's.
func (s TensorSpec) vision() bool {
	return strings.HasPrefix(s.Name, "v.") || strings.HasPrefix(s.Name, "mm.")
}

// textLayer is the layer of the language model that a tensor belongs to, or -1.
func (s TensorSpec) textLayer() int {
	if s.vision() {
		return -1
	}
	return s.Layer
}

// Room is what a plan makes room for next to the weights.
type Room struct {
	Prompt   int      // tokens of a prompt
	Cells    int      // of the cache
	Adapters []Extent // that are added to the model

	// Offered are adapters that texts may ask for, of which no more than Most bytes are
	// kept, unless one alone takes more.
	Offered [][]Extent
	Most    int64
}

// Plan places a model on devices, whose tensors lookup returns: all that the configuration
// calls for must be there. Devices that get nothing to compute are left out. What does not
// fit is left to Short to tell.
func (c Config) Plan(lookup func(name string) (gguf.Tensor, bool), places []Place, split Split, room Room) (Plan, error) {
	n := c.needs(lookup, room)
	p := planner{places: places, needs: n, vision: max(0, slices.IndexFunc(places, func(p Place) bool { return !p.Host }))}
	layers, err := split.deal(len(places), c.Text.Layers)
	if err != nil {
		return Plan{}, err
	}
	if layers == nil {
		layers = p.fill()
	}
	var plan Plan
	first := 0
	for i, n := range layers {
		if s := p.share(i, first, n); s.used() {
			plan.Shares = append(plan.Shares, s)
		}
		first += n
	}
	return plan, nil
}

// deal returns the layers of each device; nil where memory decides.
func (s Split) deal(devices, layers int) ([]int, error) {
	switch {
	case s.Last > 0 && devices == 1:
		return []int{layers}, nil
	case s.Last > 0 && devices == 2:
		last := min(s.Last, layers)
		return []int{layers - last, last}, nil
	case s.Last != 0:
		return nil, fmt.Errorf("%d layers on the last of %d devices", s.Last, devices)
	case s.Shares == nil:
		return nil, nil
	case len(s.Shares) != devices:
		return nil, fmt.Errorf("a split into %d shares for %d devices", len(s.Shares), devices)
	}
	sum := 0.0
	for _, share := range s.Shares {
		if !(share >= 0) || math.IsInf(share, 0) {
			return nil, fmt.Errorf("a share of %v: want 0 or more", share)
		}
		sum += share
	}
	if sum == 0 {
		return nil, errors.New("every share of the split is 0")
	}
	dealt := make([]int, devices)
	before, have := 0.0, 0
	for i, share := range s.Shares {
		before += share
		dealt[i] = int(math.Round(before/sum*float64(layers))) - have
		have += dealt[i]
	}
	return dealt, nil
}

// parts are bytes of the parts of a model.
type parts struct {
	layers       []int64 // of the language model
	vision, head int64
}

func (c Config) newParts() parts { return parts{layers: make([]int64, c.Text.Layers)} }

// add adds bytes of a tensor.
func (p *parts) add(spec TensorSpec, bytes int64) {
	switch layer := spec.textLayer(); {
	case layer >= 0:
		p.layers[layer] += bytes
	case spec.vision():
		p.vision += bytes
	default:
		p.head += bytes
	}
}

// of returns the bytes of the parts that a share has.
func (p *parts) of(s Share) int64 {
	n := int64(0)
	for _, layer := range p.layers[s.First:][:s.Layers] {
		n += layer
	}
	if s.Vision {
		n += p.vision
	}
	if s.Head {
		n += p.head
	}
	return n
}

// needs are the bytes that the parts of a model take.
type needs struct {
	weights, adapters parts
	cache             int64 // of each layer
	work              int64 // results in a layer of the language model,
	visionWork        int64 // of the tower, for an image,
	images            int64 // that a device other than the CPU encodes at a time
	logits            int64 // and after the last layer
}

// needs counts the bytes of a model's parts.
func (c Config) needs(lookup func(name string) (gguf.Tensor, bool), room Room) needs {
	n := needs{weights: c.newParts(), adapters: c.adapterParts(room)}
	cell := 2.0 // F16
	exact := true
	for _, spec := range c.Tensors() {
		t, _ := lookup(spec.Name)
		exact = exact && t.Type == gguf.TypeF32
		n.weights.add(spec, t.Size)
	}
	if exact {
		cell = floatSize
	}
	bound := func(v float64) int64 { return int64(min(mostMemory, v)) }
	t, v := c.Text, c.Vision
	n.cache = bound(c.cacheMemory(float64(room.Cells)) / float64(t.Layers) * cell / floatSize)
	n.work = bound(c.textMemory(float64(room.Prompt)) + scoreMemory(room.Prompt, t.Heads))
	n.visionWork, n.images = bound(c.visionMemory()+scoreMemory(v.ImageTokens, v.Heads)), int64(c.imagesPerPass())
	n.logits = bound(c.logitMemory())
	return n
}

// adapterParts counts the bytes of adapters, those that are offered as far as they are
// kept.
func (c Config) adapterParts(room Room) parts {
	specs := c.changeable()
	sum := c.newParts()
	add := func(to *parts, extents []Extent) (bytes int64) {
		for _, e := range extents {
			spec, ok := specs[e.Tensor]
			if !ok || e.Tensor == TensorEmbedding && !c.embeddingIsHead(extents) { // its rows are looked up by the host
				continue
			}
			n := e.bytes(spec)
			to.add(spec, n)
			bytes += n
		}
		return bytes
	}
	add(&sum, room.Adapters)
	offered := c.newParts()
	var all, largest int64
	for _, extents := range room.Offered {
		n := add(&offered, extents)
		all, largest = all+n, max(largest, n)
	}
	if kept := min(all, max(largest, room.Most)); kept > 0 {
		share := float64(kept) / float64(all)
		part := func(n int64) int64 { return int64(math.Ceil(share * float64(n))) }
		for i, n := range offered.layers {
			sum.layers[i] += part(n)
		}
		sum.vision += part(offered.vision)
		sum.head += part(offered.head)
	}
	return sum
}

// embeddingIsHead reports whether the token embedding is the head, too, with changes.
func (c Config) embeddingIsHead(extents []Extent) bool {
	return c.Tied && !slices.ContainsFunc(extents, func(e Extent) bool { return e.Tensor == TensorHead })
}

// planner weighs ways to place a model.
type planner struct {
	needs
	places []Place
	vision int // the place of the tower: the first that is not the CPU
}

// deviceMemory is what a device other than the CPU takes by itself: its libraries' code
// and buffers, and what they put aside.
const deviceMemory = 256 << 20

// share is what a place has with n layers from the first-th on.
func (p *planner) share(place, first, n int) Share {
	at := p.places[place]
	s := Share{Device: at.Name, Host: at.Host, Free: at.Free, First: first, Layers: n, Vision: place == p.vision, Head: n > 0 && first+n == len(p.weights.layers)}
	if !s.used() {
		return s
	}
	s.Weights, s.Adapters = p.weights.of(s), p.adapters.of(s)
	s.Cache = int64(n) * p.cache
	if n > 0 {
		s.Compute = p.work
	}
	if s.Vision {
		work := p.visionWork
		if !s.Host {
			work *= p.images
		}
		s.Compute = max(s.Compute, work)
	}
	if s.Head {
		s.Compute += p.logits
	}
	if !s.Host {
		s.Compute += deviceMemory
	}
	return s
}

// weight orders ways to place layers: first by what is missing, then by how many are on
// the CPU, then by how full the fullest device is.
type weight struct {
	missing, host int64
	fill          float64
}

func (a weight) less(b weight) bool {
	if a.missing != b.missing {
		return a.missing < b.missing
	}
	if a.host != b.host {
		return a.host < b.host
	}
	return a.fill < b.fill
}

// with adds a share.
func (a weight) with(s Share) weight {
	a.missing += s.missing()
	if s.Host {
		a.host += int64(s.Layers)
		return a
	}
	free := float64(s.Free)
	if free == 0 {
		free = mostMemory
	}
	a.fill = max(a.fill, float64(s.Needs())/free)
	return a
}

// fill returns the layers of each place in the lightest way there is: of the first places
// with some layers, the best is known from those with fewer places.
func (p *planner) fill() []int {
	type way struct {
		weight
		dealt []int
	}
	all := len(p.weights.layers)
	best := make([]*way, all+1) // by the layers that are placed
	best[0] = &way{}
	for place := range p.places {
		next := make([]*way, all+1)
		for from, w := range best {
			if w == nil {
				continue
			}
			for to := from; to <= all; to++ {
				if weight := w.with(p.share(place, from, to-from)); next[to] == nil || weight.less(next[to].weight) {
					next[to] = &way{weight, append(slices.Clone(w.dealt), to-from)}
				}
			}
		}
		best = next
	}
	return best[all].dealt
}
