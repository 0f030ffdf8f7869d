package model

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// Sizes of PaliGemma's mask codec.
const (
	MaskCodes  = 16  // codes of a mask: a grid of 4×4
	MaskSide   = 64  // of a decoded mask, in pixels
	maskBook   = 128 // rows of the codebook
	maskVector = 512 // width of a row
	maskGrid   = 4
	maskUpSide = 4 // of the transposed convolutions' kernels
)

// MaskTensor is a tensor of the mask decoder.
type MaskTensor struct {
	Name   string // in a GGUF file
	Source string // in the codec's vae-oid.npz
	Shape  []int  // outermost first, in PyTorch's layout
}

// MaskTensors lists the decoder's tensors. In a GGUF file they are optional, but
// there are all of them or none: biases in F32, the others in F32 or F16.
func MaskTensors() []MaskTensor {
	list := []MaskTensor{{"mask.codebook", "_vq_vae._embedding", []int{maskBook, maskVector}}}
	conv := func(layer string, weight ...int) {
		bias := weight[0]
		if weight[2] == maskUpSide { // transposed: [in, out, …]
			bias = weight[1]
		}
		list = append(list,
			MaskTensor{"mask.decoder." + layer + ".weight", "decoder." + layer + ".weight", weight},
			MaskTensor{"mask.decoder." + layer + ".bias", "decoder." + layer + ".bias", []int{bias}})
	}
	conv("0", 128, maskVector, 1, 1)
	for _, block := range []string{"2", "3"} {
		conv(block+".net.0", 128, 128, 3, 3)
		conv(block+".net.2", 128, 128, 3, 3)
		conv(block+".net.4", 128, 128, 1, 1)
	}
	for i, layer := range maskUps {
		conv(layer, maskWidths[i], maskWidths[i+1], maskUpSide, maskUpSide)
	}
	conv("12", 1, 16, 1, 1)
	return list
}

// The transposed convolutions and the channels between them.
var (
	maskUps    = []string{"4", "6", "8", "10"}
	maskWidths = []int{128, 128, 64, 32, 16}
)

// MaskDecoder turns the 16 codes of a mask into its 64×64 logits: the decoder
// half of the VQ-VAE that PaliGemma's <seg> tokens come from (big_vision:
// evaluators/proj/paligemma/transfers/segmentation.py).
type MaskDecoder struct {
	backend  *ggml.Backend
	store    *ggml.Store
	codebook []float32 // [128, 512]
	layers   map[string]maskConv
}

// maskConv is a convolution; a transposed one is stored as a plain one with
// four times the channels, see upKernel.
type maskConv struct{ kernel, bias ggml.Tensor }

// NewMaskDecoder takes the decoder's tensors, by MaskTensor.Name, row-major in
// PyTorch's layouts. The caller closes it before the backend.
func NewMaskDecoder(e *ggml.Backend, tensors map[string][]float32) (*MaskDecoder, error) {
	d := &MaskDecoder{backend: e, layers: map[string]maskConv{}}
	var specs []ggml.Spec
	var names []string
	list := MaskTensors()
	for _, t := range list {
		values, want := tensors[t.Name], 1
		for _, n := range t.Shape {
			want *= n
		}
		if len(values) != want {
			return nil, fmt.Errorf("mask decoder: tensor %s has %d values, want %d", t.Name, len(values), want)
		}
		for _, v := range values {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("mask decoder: tensor %s contains NaN or an infinity", t.Name)
			}
		}
	}
	d.codebook = tensors[list[0].Name]
	for i := 1; i < len(list); i += 2 {
		weight, kernel, bias := list[i], tensors[list[i].Name], tensors[list[i+1].Name]
		out, in, side := weight.Shape[0], weight.Shape[1], weight.Shape[2]
		if side == maskUpSide {
			in, out = out, in
			kernel, bias = upKernel(kernel, in, out), repeat4(bias)
			out, side = 4*out, 3
		}
		specs = append(specs,
			ggml.Spec{Name: weight.Name, Type: gguf.TypeF32, Shape: []int64{int64(side), int64(side), int64(in), int64(out)}, Data: littleEndian(kernel)},
			ggml.Spec{Name: list[i+1].Name, Type: gguf.TypeF32, Shape: []int64{1, 1, int64(out)}, Data: littleEndian(bias)})
		names = append(names, weight.Name[len("mask.decoder."):len(weight.Name)-len(".weight")])
	}
	var err error
	if d.store, err = e.NewWeights(specs, nil); err != nil {
		return nil, fmt.Errorf("mask decoder: %w", err)
	}
	for i, name := range names {
		d.layers[name] = maskConv{d.store.Tensors()[2*i], d.store.Tensors()[2*i+1]}
	}
	return d, nil
}

// Close frees the decoder.
func (d *MaskDecoder) Close() {
	if d.store != nil {
		d.store.Close()
		d.store = nil
	}
}

// Decode computes the logits [64, 64] of each mask, row-major. A mask is 16
// codes of 0 to 127; pixels with a logit above 0 belong to the object.
func (d *MaskDecoder) Decode(ctx context.Context, masks [][]int) ([][]float32, error) {
	const group = 32 // masks computed at once
	var out [][]float32
	for len(masks) > 0 {
		n := min(group, len(masks))
		logits, err := d.decode(ctx, masks[:n])
		if err != nil {
			return nil, fmt.Errorf("mask decoder: %w", err)
		}
		out, masks = append(out, logits...), masks[n:]
	}
	return out, nil
}

func (d *MaskDecoder) decode(ctx context.Context, masks [][]int) ([][]float32, error) {
	x, err := d.lookUp(masks)
	if err != nil {
		return nil, err
	}
	var values []float32
	err = d.backend.MakeRoom(func() (err error) {
		g := d.backend.NewGraph(ggml.GraphOptions{Exact: true})
		defer g.Close()
		y := d.forward(g, g.Float32s(x, maskGrid, maskGrid, maskVector, int64(len(masks))))
		g.Output(y)
		if err := g.Compute(ctx); err != nil {
			return err
		}
		values, err = g.Read(y)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([][]float32, len(masks))
	for i := range out {
		out[i] = values[i*MaskSide*MaskSide : (i+1)*MaskSide*MaskSide]
	}
	return out, nil
}

// lookUp gathers the codebook's rows: [masks, 512, 4, 4], row-major.
func (d *MaskDecoder) lookUp(masks [][]int) ([]float32, error) {
	const cells = maskGrid * maskGrid
	x := make([]float32, len(masks)*maskVector*cells)
	for m, codes := range masks {
		if len(codes) != MaskCodes {
			return nil, fmt.Errorf("a mask of %d codes, want %d", len(codes), MaskCodes)
		}
		for i, code := range codes {
			if code < 0 || code >= maskBook {
				return nil, fmt.Errorf("code %d, want 0 to %d", code, maskBook-1)
			}
			for c, v := range d.codebook[code*maskVector : (code+1)*maskVector] {
				x[(m*maskVector+c)*cells+i] = v
			}
		}
	}
	return x, nil
}

// forward is the decoder: x [4, 4, 512, n] to [64, 64, 1, n].
func (d *MaskDecoder) forward(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	x = g.Relu(d.conv(g, "0", x, 0))
	for _, block := range []string{"2", "3"} {
		y := g.Relu(d.conv(g, block+".net.0", x, 1))
		y = g.Relu(d.conv(g, block+".net.2", y, 1))
		x = g.Add(x, d.conv(g, block+".net.4", y, 0))
	}
	for _, layer := range maskUps {
		x = g.Relu(shuffle(g, d.conv(g, layer, x, 1)))
	}
	return d.conv(g, "12", x, 0)
}

func (d *MaskDecoder) conv(g *ggml.Graph, layer string, x ggml.Tensor, pad int) ggml.Tensor {
	l := d.layers[layer]
	return g.Add(g.Conv2D(l.kernel, x, pad), l.bias)
}

// shuffle spreads channels over space: [w, h, 4·c, n] to [2w, 2h, c, n], channel
// 4·c + 2·py + px becoming the pixels (2x + px, 2y + py) of channel c.
func shuffle(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	w, h, c, n := x.Dim(0), x.Dim(1), x.Dim(2)/4, x.Dim(3)
	x = g.Reshape(x, w, h, 2, 2*c*n)
	x = g.Cont(g.Permute(x, [4]int{1, 2, 0, 3}), 2*w, h, 2, c*n) // px next to x
	x = g.Permute(x, [4]int{0, 2, 1, 3})                         // py next to y
	return g.Cont(x, 2*w, 2*h, c, n)
}

// upKernel rewrites a transposed convolution (4×4, stride 2, padding 1; weight
// [in, out, 4, 4]) as a plain one of 3×3 with padding 1 and 4·out channels, whose
// result shuffle spreads: [4·out, in, 3, 3]. Output row 2y + p takes from input
// row y + d the kernel's row 2y + p − 2(y + d) + 1 = p − 2d + 1, where it has one.
func upKernel(weight []float32, in, out int) []float32 {
	kernel := make([]float32, 4*out*in*9)
	each := func(p int, f func(d, k int)) {
		for d := -1; d <= 1; d++ {
			if k := p - 2*d + 1; k >= 0 && k < 4 {
				f(d, k)
			}
		}
	}
	for i := range in {
		for o := range out {
			for p := range 4 {
				each(p/2, func(dy, ky int) {
					each(p%2, func(dx, kx int) {
						kernel[((4*o+p)*in+i)*9+(dy+1)*3+dx+1] = weight[(i*out+o)*16+ky*4+kx]
					})
				})
			}
		}
	}
	return kernel
}

func repeat4(values []float32) []float32 {
	out := make([]float32, 0, 4*len(values))
	for _, v := range values {
		out = append(out, v, v, v, v)
	}
	return out
}

func littleEndian(values []float32) []byte {
	out := make([]byte, 0, 4*len(values))
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

// ErrNoMaskDecoder says that a model came without the mask decoder.
var ErrNoMaskDecoder = errors.New("the model has no mask decoder: add it with `paligemma convert --mask-decoder vae-oid.npz`")

// ReadMaskDecoder makes the decoder that a GGUF file holds; ErrNoMaskDecoder if
// it holds none.
func ReadMaskDecoder(f *gguf.File, e *ggml.Backend) (*MaskDecoder, error) {
	tensors, err := ReadMaskTensors(f)
	if err != nil {
		return nil, err
	}
	return NewMaskDecoder(e, tensors)
}

// ReadMaskTensors reads the decoder's tensors from a GGUF file, whatever else is
// in it: values by MaskTensor.Name, row-major in PyTorch's layouts. It is
// ErrNoMaskDecoder if there are none.
func ReadMaskTensors(f *gguf.File) (map[string][]float32, error) {
	if !HasMaskDecoder(f.Header) {
		return nil, ErrNoMaskDecoder
	}
	tensors := map[string][]float32{}
	for _, mask := range MaskTensors() {
		t, ok := f.Lookup(mask.Name)
		if !ok {
			return nil, fmt.Errorf("tensor %s is missing", mask.Name)
		}
		if err := mask.Spec().check(t); err != nil {
			return nil, err
		}
		values := make([]float32, t.Elements())
		if err := ggml.Dequantize(t.Type, values, f.Data(t), int(t.Shape[0])); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", mask.Name, err)
		}
		tensors[mask.Name] = values
	}
	return tensors, nil
}

// HasMaskDecoder reports whether a file holds the decoder, or a part of it.
func HasMaskDecoder(h *gguf.Header) bool {
	for _, t := range MaskTensors() {
		if _, ok := h.Lookup(t.Name); ok {
			return true
		}
	}
	return false
}

// Spec is how a file must hold the tensor.
func (t MaskTensor) Spec() TensorSpec {
	s := TensorSpec{Name: t.Name, Role: RoleKernel, Layer: -1}
	if len(t.Shape) == 1 { // a bias
		s.Role = RoleVector
	}
	for i := len(t.Shape) - 1; i >= 0; i-- {
		s.Shape = append(s.Shape, t.Shape[i])
	}
	return s
}
