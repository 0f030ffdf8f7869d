// Package scene draws the pictures that the built-in model is trained and
// measured on, knows what is in them, and asks and marks questions about them.
//
// [Draw] makes a picture and its facts from a seed; [Samples] makes prompts and
// answers in PaliGemma's formats; the Score functions mark what a model wrote.
// Training (scripts/train_demo, through a pipe) and evaluation use this one
// code, on different seeds: see [TrainSeed] and [EvalSeed].
//
// A seed gives the same scene on every run of the same build for one
// architecture; between architectures a pixel may differ by rounding.
package scene

import (
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"os"

	"paligemma/internal/draw"
	"paligemma/internal/preprocess"
)

// MaxObjects is the largest number of objects in a scene.
const MaxObjects = 4

// Limits of what is drawn. Sizes are those of an object's box, unoccluded:
// √(width·height of the box ÷ width·height of the picture), which does not
// change when the picture is squashed to a square.
const (
	MinSize    = 0.10
	MaxSize    = 0.50
	MaxOverlap = 0.30 // of an object's pixels, hidden (half of that if small); and of the smaller one's of any two
	MinSide    = 160  // pixels of a picture's side
	MaxSide    = 480
)

// Options changes what is drawn; the zero value is the standard that training
// and evaluation share.
type Options struct {
	Objects int      // how many, if they find room, 1 to MaxObjects; 0: drawn by chance
	Words   []string // one or two words on a sign; none: both drawn by chance
	Sign    bool     // a sign for certain
	NoSign  bool     // no sign
	MaxSide int      // pixels of the longer side, MinSide to MaxSide; 0: MaxSide
}

// Scene is a picture and what is in it.
type Scene struct {
	Seed       uint64          `json:"seed"`
	Picture    *preprocess.RGB `json:"-"`
	W          int             `json:"width"` // pixels
	H          int             `json:"height"`
	Background string          `json:"background"` // one of Backgrounds
	Quality    int             `json:"quality"`    // of the JPEG it went through, 0 for none
	Objects    []Object        `json:"objects"`    // from left to right, by the centers of their boxes
	Sign       *Sign           `json:"sign,omitempty"`
}

// WritePNG writes the picture to a file.
func (s *Scene) WritePNG(path string) (err error) {
	img, err := draw.FromRGB(s.Picture.Pix, s.W, s.H)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return draw.Encode(f, img, draw.PNG)
}

// Object is one shape of a scene.
type Object struct {
	Color string  `json:"color"` // one of Colors
	Shape string  `json:"shape"` // one of Shapes
	Size  string  `json:"size"`  // one of Sizes
	Scale float64 `json:"scale"` // the number behind Size, MinSize to MaxSize
	Angle float64 `json:"angle"` // rotated clockwise, radians
	Layer int     `json:"layer"` // objects of higher layers hide those of lower ones
	Box   [4]int  `json:"box"`   // x0, y0, x1, y1 of the visible pixels; x1 and y1 are just outside

	Full    Mask `json:"-"` // all of it
	Visible Mask `json:"-"` // what no other object hides
}

// Sign is a card with one or two words.
type Sign struct {
	Words []string `json:"words"` // in reading order
	Box   [4]int   `json:"box"`   // of the card, as Object.Box
	Font  string   `json:"font"`  // one of Fonts

	TextColor [3]uint8 `json:"text_color"` // before light and JPEG
	CardColor [3]uint8 `json:"card_color"`

	letterAt func(x, y float64) rune // where in the picture which letter stands
}

// Mask is a set of pixels within a rectangle of the picture.
type Mask struct {
	Rect image.Rectangle
	Pix  []byte // [Dy][Dx] of 0 and 1
}

// At reports whether the pixel is in the mask.
func (m *Mask) At(x, y int) bool {
	if !(image.Point{X: x, Y: y}.In(m.Rect)) {
		return false
	}
	return m.Pix[(y-m.Rect.Min.Y)*m.Rect.Dx()+x-m.Rect.Min.X] != 0
}

// Area is the number of pixels in the mask.
func (m *Mask) Area() int {
	n := 0
	for _, v := range m.Pix {
		n += int(v)
	}
	return n
}

// Bounds is the smallest rectangle with all pixels of the mask; empty if there
// are none.
func (m *Mask) Bounds() image.Rectangle {
	var r image.Rectangle
	w := m.Rect.Dx()
	for i, v := range m.Pix {
		if v != 0 {
			x, y := m.Rect.Min.X+i%w, m.Rect.Min.Y+i/w
			r = r.Union(image.Rect(x, y, x+1, y+1))
		}
	}
	return r
}

// overlap is the number of pixels in both masks.
func (m *Mask) overlap(o *Mask) int {
	r := m.Rect.Intersect(o.Rect)
	n := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if m.At(x, y) && o.At(x, y) {
				n++
			}
		}
	}
	return n
}

// subtract takes the pixels of o out of m.
func (m *Mask) subtract(o *Mask) {
	r := m.Rect.Intersect(o.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if o.At(x, y) {
				m.Pix[(y-m.Rect.Min.Y)*m.Rect.Dx()+x-m.Rect.Min.X] = 0
			}
		}
	}
}

// Pixels is the mask of the whole picture W × H, [H][W] of 0 and 1.
func (m *Mask) Pixels(W, H int) []byte {
	out := make([]byte, max(W, 0)*max(H, 0))
	r := m.Rect.Intersect(image.Rect(0, 0, W, H))
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if m.At(x, y) {
				out[y*W+x] = 1
			}
		}
	}
	return out
}

// center is the middle of the visible box as fractions of the sides.
func (s *Scene) center(o *Object) (x, y float64) {
	return float64(o.Box[0]+o.Box[2]) / 2 / float64(s.W), float64(o.Box[1]+o.Box[3]) / 2 / float64(s.H)
}

// IndexMap says what each pixel of the picture squashed to size × size shows:
// 0 background, i+1 object i, MaxObjects+1 the sign. It takes the nearest pixel.
func (s *Scene) IndexMap(size int) []byte {
	out := make([]byte, max(size, 0)*max(size, 0))
	for y := range max(size, 0) {
		py := (2*y + 1) * s.H / (2 * size)
		for x := range size {
			px := (2*x + 1) * s.W / (2 * size)
			v := byte(0)
			if s.Sign != nil && (image.Point{X: px, Y: py}).In(rect(s.Sign.Box)) {
				v = MaxObjects + 1
			}
			for i := range s.Objects {
				if s.Objects[i].Visible.At(px, py) {
					v = byte(i + 1)
				}
			}
			out[y*size+x] = v
		}
	}
	return out
}

// LetterMap says which letter of the sign stands at each pixel of the picture
// squashed to size × size: 1 to 26 for a to z, 0 where none is. A letter fills
// its advance and its line.
func (s *Scene) LetterMap(size int) []byte {
	out := make([]byte, max(size, 0)*max(size, 0))
	if s.Sign == nil || s.Sign.letterAt == nil {
		return out
	}
	for y := range max(size, 0) {
		py := (float64(y) + 0.5) * float64(s.H) / float64(size)
		for x := range size {
			px := (float64(x) + 0.5) * float64(s.W) / float64(size)
			if l := s.Sign.letterAt(px, py); l >= 'a' && l <= 'z' {
				out[y*size+x] = byte(l-'a') + 1
			}
		}
	}
	return out
}

// CropSize is the side of the masks that the mask codec reads and writes.
const CropSize = 64

// Crop is the object's visible mask, cut out at its box and scaled to 64 × 64:
// each sample, 0 to 255, is the share of its area that lies in the mask.
func (o *Object) Crop() []byte {
	out := make([]byte, CropSize*CropSize)
	x0, y0 := o.Box[0], o.Box[1]
	cols := areaTaps(o.Box[2]-x0, CropSize)
	rows := areaTaps(o.Box[3]-y0, CropSize)
	for y, row := range rows {
		for x, col := range cols {
			sum, total := 0.0, 0.0
			for j, wy := range row.weight {
				for i, wx := range col.weight {
					total += wx * wy
					if o.Visible.At(x0+col.first+i, y0+row.first+j) {
						sum += wx * wy
					}
				}
			}
			if total > 0 {
				out[y*CropSize+x] = byte(math.Round(255 * sum / total))
			}
		}
	}
	return out
}

type areaTap struct {
	first  int
	weight []float64
}

// areaTaps are the shares of n input samples in each of m output samples.
func areaTaps(n, m int) []areaTap {
	taps := make([]areaTap, m)
	for i := range taps {
		lo, hi := float64(i*n)/float64(m), float64((i+1)*n)/float64(m)
		first := int(lo)
		var w []float64
		for x := first; x < n && float64(x) < hi; x++ {
			w = append(w, math.Min(hi, float64(x+1))-math.Max(lo, float64(x)))
		}
		taps[i] = areaTap{first, w}
	}
	return taps
}

func rect(b [4]int) image.Rectangle { return image.Rect(b[0], b[1], b[2], b[3]) }

func box(r image.Rectangle) [4]int { return [4]int{r.Min.X, r.Min.Y, r.Max.X, r.Max.Y} }

// evalBit marks the seeds of evaluation. Training never uses a seed with it.
const evalBit = 1 << 63

// TrainSeed is the seed of training scene i: 0 to 2^63−1.
func TrainSeed(i uint64) uint64 { return i &^ evalBit }

// EvalSeed is the seed of scene i of an evaluation: 2^63 and above, so that no
// evaluation shares a scene with training. run numbers the evaluation; anyone
// can draw new scenes by choosing another.
func EvalSeed(run, i uint32) uint64 { return evalBit | uint64(run&(1<<31-1))<<32 | uint64(i) }

// newRand returns the random numbers of a seed. stream keeps the choice of
// questions apart from the drawing.
func newRand(seed, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(mix(seed), mix(seed^mix(stream+1))))
}

// Rand returns the random numbers from which Samples of a scene are usually
// drawn, so that training and evaluation are repeatable.
func Rand(seed uint64) *rand.Rand { return newRand(seed, 1) }

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators, 2014): neighboring seeds become unrelated.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
