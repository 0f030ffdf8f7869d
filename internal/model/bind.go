package model

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"paligemma/internal/ggml"
)

// Role is what a tensor is to the graph, and so what it may be stored as.
type Role int

const (
	RoleVector Role = iota // norms, biases, positions: F32
	RoleMatrix             // a Matrix: any type of ggml.MatrixType, rows padded
	RoleKernel             // codebook and kernels of the mask decoder: F32 or F16
)

// TensorSpec is a tensor that a model of some configuration has.
type TensorSpec struct {
	Name  string
	Shape []int // true dimensions, innermost first
	Role  Role
	Layer int // of its block, -1 outside; the quantization policy looks at it
}

// Tensors lists the tensors of a model, in file order: no more and no fewer may
// be in its file. The configuration must be valid.
func (c Config) Tensors() []TensorSpec {
	var specs []TensorSpec
	c.walk(&Weights{}, func(spec TensorSpec, _ slot) { specs = append(specs, spec) })
	return specs
}

// dims are the letters of the shape tags.
func (c Config) dims() map[string]int {
	t, v := c.Text, c.Vision
	return map[string]int{
		"h": t.Hidden, "mlp": t.MLP, "vocab": t.Vocab,
		"q": t.Heads * t.HeadDim, "kv": t.KVHeads * t.HeadDim,
		"vh": v.Hidden, "vmlp": v.MLP, "patch": v.PatchDim(), "tokens": v.ImageTokens,
	}
}

var (
	tensorType = reflect.TypeFor[ggml.Tensor]()
	matrixType = reflect.TypeFor[Matrix]()
)

// slot is where a tensor goes.
type slot struct {
	tensor *ggml.Tensor
	matrix *Matrix // whose tensor it is; nil for what is not a matrix
	shape  []int   // its spec's
}

// walk visits every tensor field of w that the configuration calls for, in
// the order of the structs, but within a layer matrices last, so that some may
// be joined (Store.Join); and makes the slices of layers.
func (c Config) walk(w *Weights, visit func(TensorSpec, slot)) {
	type found struct {
		spec TensorSpec
		slot slot
	}
	var matrices []found
	flush := func() {
		for _, m := range matrices {
			visit(m.spec, m.slot)
		}
		matrices = nil
	}
	layer := -1
	walker{c, c.dims(), func(spec TensorSpec, s slot) {
		if spec.Layer != layer {
			flush()
			layer = spec.Layer
		}
		if spec.Layer >= 0 && spec.Role == RoleMatrix {
			matrices = append(matrices, found{spec, s})
			return
		}
		visit(spec, s)
	}}.fields(reflect.ValueOf(w).Elem(), "", "", -1)
	flush()
}

type walker struct {
	config Config
	dims   map[string]int
	visit  func(TensorSpec, slot)
}

// fields visits a struct whose tensors' names begin with prefix. Structs of
// one layer (Linear, LayerNorm, QKV) take their shape from the field they stand in.
func (w walker) fields(v reflect.Value, prefix, shape string, layer int) {
	for i := range v.NumField() {
		field, tag := v.Field(i), v.Type().Field(i).Tag
		if !w.wanted(tag.Get("if")) || !v.Type().Field(i).IsExported() {
			continue
		}
		name := prefix + tag.Get("gguf")
		own := within(shape, tag.Get("shape"))
		switch {
		case field.Type() == tensorType:
			spec := w.spec(name, own, tag.Get("kind"), layer)
			w.visit(spec, slot{tensor: field.Addr().Interface().(*ggml.Tensor), shape: spec.Shape})
		case field.Type() == matrixType:
			spec := w.spec(name, own, "", layer)
			spec.Role = RoleMatrix
			m := field.Addr().Interface().(*Matrix)
			w.visit(spec, slot{&m.tensor, m, spec.Shape})
		case field.Kind() == reflect.Struct:
			w.fields(field, name, own, layer)
		case field.Kind() == reflect.Slice:
			n, layers := w.config.Text.Layers, "blk.%d."
			if strings.HasPrefix(name, "v.") {
				n, layers = w.config.Vision.Layers, name
			}
			field.Set(reflect.MakeSlice(field.Type(), n, n))
			for l := range n {
				w.fields(field.Index(l), fmt.Sprintf(layers, l), "", l)
			}
		}
	}
}

// within is the shape of a field by its tag and the shape of the struct around it:
// that shape where the tag is empty, and of it the dimension 0, 1 … for a digit.
func within(shape, tag string) string {
	if tag == "" {
		return shape
	}
	outer, letters := strings.Split(shape, ","), strings.Split(tag, ",")
	for i, letter := range letters {
		if n, err := strconv.Atoi(letter); err == nil {
			letters[i] = outer[n]
		}
	}
	return strings.Join(letters, ",")
}

// wanted evaluates an `if` tag.
func (w walker) wanted(cond string) bool {
	switch cond {
	case "":
		return true
	case "untied":
		return !w.config.Tied
	default:
		return cond == w.config.Arch
	}
}

func (w walker) spec(name, shape, kind string, layer int) TensorSpec {
	spec := TensorSpec{Name: name, Layer: layer}
	for letter := range strings.SplitSeq(shape, ",") {
		spec.Shape = append(spec.Shape, w.dims[letter])
	}
	if kind == "bias" { // as long as its matrix has rows
		spec.Shape = spec.Shape[len(spec.Shape)-1:]
	}
	return spec
}
