package model

import "slices"

// Change is what adapters do to one tensor of a model. All values are F32, in
// the file's form (a norm's weight as 1 + w), rows without padding. In a tied model a
// change of the token embedding is the head's, too, unless TensorHead is changed, if
// only by nothing: the head then starts from the file's values.
type Change struct {
	Tensor string // its name in the file, or TensorHead in a tied model: the head then becomes a matrix of its own

	// Values replaces the stored values, before LowRank is added; nil: they stay.
	Values []float32
	// LowRank are added to a matrix, in this order.
	LowRank []LowRank
	// Bias is added to the rows that a matrix gives, [out]; nil: none.
	Bias []float32
}

// Extent is what is known of a Change before its values are read.
type Extent struct {
	Tensor string // as in Change
	Rank   int    // of all its updates, those of scale 0 left out
	Values bool   // it replaces the stored values
	Bias   bool
	DoRA   bool // an update has a Magnitude
}

// Extent returns what is known of the change without its values.
func (c Change) Extent() Extent {
	dora := slices.ContainsFunc(c.LowRank, func(u LowRank) bool { return u.Magnitude != nil })
	e := Extent{Tensor: c.Tensor, Values: c.Values != nil, Bias: c.Bias != nil, DoRA: dora}
	for _, u := range active(c.LowRank) {
		e.Rank += u.Rank
	}
	return e
}

// bytes returns the memory that the values take on the device of a tensor. Of one that is
// not a matrix the sum is placed.
func (e Extent) bytes(spec TensorSpec) int64 {
	in, out := spec.matrix()
	n := int64(0)
	if e.Values || e.Rank > 0 && spec.Role != RoleMatrix {
		n += in * out
	}
	if spec.Role == RoleMatrix {
		n += int64(e.Rank) * (in + out)
	}
	if e.Bias {
		n += out
	}
	return floatSize * n
}

// matrix returns the length of the rows of a tensor, and their number.
func (s TensorSpec) matrix() (in, out int64) {
	out = 1
	for _, d := range s.Shape[1:] {
		out *= int64(d)
	}
	return int64(s.Shape[0]), out
}

// active returns the updates whose scale is not 0.
func active(updates []LowRank) []LowRank {
	return slices.DeleteFunc(slices.Clone(updates), func(u LowRank) bool { return u.Scale == 0 })
}

// LowRank is the update Scale·B·A of a matrix of weights W [out, in]: LoRA, Hu et
// al. 2021, https://arxiv.org/abs/2106.09685, equation 3.
type LowRank struct {
	Rank  int
	A     []float32 // [Rank, in], row-major
	B     []float32 // [out, Rank], row-major
	Scale float32

	// Magnitude, if there is one, is the length of each row of the sum: row i
	// becomes Magnitude[i]·(W + Scale·B·A)[i] / ‖(W + Scale·B·A)[i]‖: DoRA, Liu et
	// al. 2024, https://arxiv.org/abs/2402.09353, equation 5. [out]
	Magnitude []float32
	// ByColumn says that Magnitude is the length of each column, [in], as in PEFT's
	// DoRA of an embedding.
	ByColumn bool
}
