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
	kept   bool      // in rows of the model's shelf
	row    int       // the first of them
	values []float32 // nil: in the shelf only
}

// shelf is where a device keeps the features of some images.
type shelf struct {
	store *ggml.Store
	rows  ggml.Tensor          // [hidden, places·tokens]
	seats []weak.Pointer[seat] // who has each place; what nobody knows any more is not fetched
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
		s.values, err = s.model.backend.ReadRows(s.model.shelf.rows, int64(s.row), int64(s.model.config.Vision.ImageTokens))
	}
	return err
}

// shelved reports whether the features are in rows of their model's shelf.
func (f Features) shelved() bool { return f.seat != nil && f.seat.kept }

// here are the values of features that are not shelved.
func (f Features) here() []float32 {
	if f.seat == nil {
		return f.Values
	}
	return f.seat.values
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
		old.kept = false
	}
	taken := &seat{model: m, kept: true, row: at * m.config.Vision.ImageTokens}
	s.seats[at] = weak.Make(taken)
	return taken, nil
}

// keptImages is how many places a shelf has.
func (c Config) keptImages() int {
	size := floatSize * c.Text.Hidden * c.Vision.ImageTokens
	return max(2, c.imagesPerPass(), min(mostKeptImages, mostKeptBytes/size))
}

func (m *Model) newShelf() (*shelf, error) {
	hidden, tokens := m.config.Text.Hidden, m.config.Vision.ImageTokens
	places := m.config.keptImages()
	store, err := m.backend.NewStore([]ggml.Spec{{Name: "images", Shape: []int64{int64(hidden), int64(places * tokens)}}}) // F32
	if err != nil {
		return nil, fmt.Errorf("room for images: %w", err)
	}
	return &shelf{store: store, rows: store.Tensors()[0], seats: make([]weak.Pointer[seat], places)}, nil
}

func (s *shelf) close() {
	if s != nil {
		s.store.Close()
	}
}
