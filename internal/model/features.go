package model

import (
	"errors"
	"fmt"
	"weak"

	"paligemma/internal/ggml"
)

// Features are the embeddings of an image as the language model receives them: [Tokens,
// hidden], row-major. A device keeps those that it computed last.
type Features struct {
	Values []float32 // nil where a device has or had them: see Read
	Tokens int
	seat   *seat
}

// seat is features that a device computed: there, until it has others to keep, then here.
// It is the model's, and used where the model is.
type seat struct {
	model  *Model
	kept   ggml.Tensor // of the model's shelf, or the zero Tensor
	values []float32   // nil: in kept
}

// shelf is where a device keeps the features of some images.
type shelf struct {
	store *ggml.Store
	seats []weak.Pointer[seat] // who has each tensor; what nobody knows any more is not fetched
	next  int                  // the one that was taken the longest ago
}

// A shelf has up to mostKeptImages places, fewer where they would take more memory, but two,
// and as many as there are images in a pass.
const (
	mostKeptImages = 16
	mostKeptBytes  = 64 << 20
)

// Read returns the values, from wherever they are. It must not run while the model
// computes.
func (f Features) Read() ([]float32, error) {
	if f.seat == nil {
		return f.Values, nil
	}
	if f.seat.values == nil && f.seat.model.shelf == nil {
		return nil, errors.New("the image's model was closed")
	}
	return f.seat.values, f.seat.fetch()
}

// fetch copies the values from the device, unless that was done.
func (s *seat) fetch() (err error) {
	if s.values == nil {
		s.values, err = s.model.backend.Read(s.kept)
	}
	return err
}

// tensor is the features as a graph of their model takes them: [hidden, Tokens].
func (f Features) tensor(g *ggml.Graph, hidden int64) ggml.Tensor {
	switch {
	case f.seat == nil:
		return g.Float32s(f.Values, hidden, int64(f.Tokens))
	case f.seat.kept.Valid():
		return f.seat.kept
	}
	return g.Float32s(f.seat.values, hidden, int64(f.Tokens))
}

// of returns features as a prompt of a model takes them: those that another one's device has
// are fetched.
func (f Features) of(m *Model) (Features, error) {
	if f.seat != nil && f.seat.model != m {
		values, err := f.Read()
		if err != nil {
			return f, err
		}
		f = Features{Values: values, Tokens: f.Tokens}
	}
	if f.Tokens < 1 || f.seat == nil && len(f.Values) != f.Tokens*m.config.Text.Hidden {
		return f, fmt.Errorf("an image of %d values for %d tokens", len(f.Values), f.Tokens)
	}
	return f, nil
}

// takeSeat takes the place of the features that were computed the longest ago, which are
// fetched first, if they are still known to anybody.
func (m *Model) takeSeat() (*seat, error) {
	if m.shelf == nil {
		var err error
		if m.shelf, err = m.newShelf(); err != nil {
			return nil, err
		}
	}
	s := m.shelf
	at := s.next
	s.next = (at + 1) % len(s.seats)
	if old := s.seats[at].Value(); old != nil {
		if err := old.fetch(); err != nil {
			return nil, err
		}
		old.kept = ggml.Tensor{}
	}
	taken := &seat{model: m, kept: s.store.Tensors()[at]}
	s.seats[at] = weak.Make(taken)
	return taken, nil
}

func (m *Model) newShelf() (*shelf, error) {
	hidden, tokens := m.config.Text.Hidden, m.config.Vision.ImageTokens
	specs := make([]ggml.Spec, max(2, m.ImagesPerPass(), min(mostKeptImages, mostKeptBytes/(floatSize*hidden*tokens))))
	for i := range specs {
		specs[i] = ggml.Spec{Name: "image", Shape: []int64{int64(hidden), int64(tokens)}} // F32
	}
	store, err := m.backend.NewStore(specs)
	if err != nil {
		return nil, fmt.Errorf("room for images: %w", err)
	}
	return &shelf{store: store, seats: make([]weak.Pointer[seat], len(specs))}, nil
}

func (s *shelf) close() {
	if s != nil {
		s.store.Close()
	}
}
