package convert

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/quote"
)

// mix is an output type: what most matrices get, and which get something else.
type mix struct {
	name, about string
	base        gguf.Type
	fileType    uint32                 // general.file_type: llama.cpp's enum llama_ftype
	rule        func(p part) gguf.Type // for a part that is not of the base type; nil: all are
}

// part is a matrix's place in the model.
type part struct {
	name          string // of the matrix in its layer, such as "ffn_down"
	layer, layers int
	shared        int // query heads to a key-value head
}

// first reports whether the layer is among the first 1/n of the layers.
func (p part) first(n int) bool { return p.layer < p.layers/n }

// sensitive are the layers for which llama.cpp spends more bits: the first and
// last eighth, and every third between.
func (p part) sensitive() bool {
	eighth := p.layers / 8
	return p.layer < eighth || p.layer >= 7*p.layers/8 || (p.layer-eighth)%3 == 2
}

// mixes holds the output types, widest first. The rules are those of
// llama.cpp's mixes of the same names (src/llama-quant.cpp, without importance
// matrix), applied to the vision tower too.
var mixes = []mix{
	{"f32", "as exact as the checkpoint", gguf.TypeF32, 0, nil},
	{"bf16", "16 bits with the range of f32: lossless from a bf16 checkpoint", gguf.TypeBF16, 32, nil},
	{"f16", "16 bits, finer than bf16, up to 65504", gguf.TypeF16, 1, nil},
	{"q8_0", "8 bits, next to no loss", gguf.TypeQ8_0, 7, nil},
	{"q6_k", "6 bits in blocks of 256", gguf.TypeQ6_K, 18, nil},
	{"q5_1", "5 bits with an offset", gguf.TypeQ5_1, 9, nil},
	{"q5_k_m", "5 bits in blocks of 256, 6 where it matters", gguf.TypeQ5_K, 17, func(p part) gguf.Type {
		if (p.name == "attn_v" || p.name == "ffn_down") && p.sensitive() {
			return gguf.TypeQ6_K
		}
		return gguf.TypeQ5_K
	}},
	{"q5_0", "5 bits", gguf.TypeQ5_0, 8, nil},
	{"q4_1", "4 bits with an offset", gguf.TypeQ4_1, 3, nil},
	{"q4_k_m", "4 bits in blocks of 256, 6 where it matters", gguf.TypeQ4_K, 15, func(p part) gguf.Type {
		if (p.name == "attn_v" || p.name == "ffn_down") && p.sensitive() {
			return gguf.TypeQ6_K
		}
		return gguf.TypeQ4_K
	}},
	{"q4_k_s", "4 bits in blocks of 256, 5 in a few layers", gguf.TypeQ4_K, 14, func(p part) gguf.Type {
		if p.name == "attn_v" && p.layer < 4 || p.name == "ffn_down" && p.first(8) {
			return gguf.TypeQ5_K
		}
		return gguf.TypeQ4_K
	}},
	{"iq4_nl", "4 bits on a curve", gguf.TypeIQ4_NL, 25, iq4(gguf.TypeIQ4_NL)},
	{"q4_0", "4 bits", gguf.TypeQ4_0, 2, nil},
	{"iq4_xs", "4 bits on a curve, in blocks of 256", gguf.TypeIQ4_XS, 30, iq4(gguf.TypeIQ4_XS)},
	{"q3_k_m", "3 bits in blocks of 256, 4 and 5 where it matters", gguf.TypeQ3_K, 12, func(p part) gguf.Type {
		switch {
		case p.name == "attn_v" && p.layer < 2, p.name == "ffn_down" && p.first(16):
			return gguf.TypeQ5_K
		case p.name == "attn_v", p.name == "ffn_down", p.name == "attn_output":
			return gguf.TypeQ4_K
		}
		return gguf.TypeQ3_K
	}},
	{"q2_k", "2 bits in blocks of 256, 3 and 4 where it matters", gguf.TypeQ2_K, 10, func(p part) gguf.Type {
		switch {
		case p.name == "attn_v" && p.shared >= 4:
			return gguf.TypeQ4_K
		case p.name == "attn_v", p.name == "ffn_down", p.name == "attn_output":
			return gguf.TypeQ3_K
		}
		return gguf.TypeQ2_K
	}},
}

func iq4(base gguf.Type) func(part) gguf.Type {
	return func(p part) gguf.Type {
		if p.name == "attn_v" && p.shared >= 4 || p.name == "ffn_down" && p.first(8) {
			return gguf.TypeQ5_K
		}
		return base
	}
}

// smaller is what a type of blocks of 256 falls back to where rows would need
// too much padding: the type of blocks of 32 with at least as many bits.
var smaller = map[gguf.Type]gguf.Type{
	gguf.TypeQ2_K:   gguf.TypeIQ4_NL,
	gguf.TypeQ3_K:   gguf.TypeIQ4_NL,
	gguf.TypeIQ4_XS: gguf.TypeIQ4_NL,
	gguf.TypeQ4_K:   gguf.TypeQ5_0,
	gguf.TypeQ5_K:   gguf.TypeQ5_1,
	gguf.TypeQ6_K:   gguf.TypeQ8_0,
}

// Rows are padded for a type of blocks of 256 by an eighth at most.
const maxPadding = 8

// ErrUnknownType is wrapped where Options.Type is not one of Types.
var ErrUnknownType = errors.New("unknown type")

// findMix finds an output type by its name in any case; "" is q8_0.
func findMix(name string) (mix, error) {
	if name == "" {
		name = "q8_0"
	}
	var names []string
	for _, m := range mixes {
		if strings.EqualFold(m.name, name) {
			return m, nil
		}
		names = append(names, m.name)
	}
	return mix{}, fmt.Errorf("%w %s, want one of %s", ErrUnknownType, quote.Short(name), strings.Join(names, ", "))
}

// Choice is what a tensor is stored as.
type Choice struct {
	Spec   model.TensorSpec
	Type   gguf.Type
	Stored []int64 // dimensions in the file, innermost first: rows may be padded
	Why    string  // "" where the type is simply the one asked for
	Bytes  int64   // in the file
}

// Plan chooses how to store each tensor of a valid configuration. It is a pure
// function of its arguments. For matrices of n columns:
//
//  1. The mix named typ gives a type by the matrix's place in the model. The
//     token embedding is the head too when they are tied; it gets what
//     llama.cpp gives a head: q6_k, or q8_0 for q8_0. Of a separate pair the
//     head does, and the embedding gets the base type.
//  2. If n is not a multiple of the type's block, rows are padded with zeros to
//     the next multiple, if that adds at most an eighth (1152 → 1280, 4304 →
//     4352). Else the type falls back to one of blocks of 32 (q4_k → q5_0, q5_k
//     → q5_1, q6_k → q8_0; q2_k, q3_k, iq4_xs → iq4_nl), padded whatever that
//     adds (588 → 608). No matrix stays at 16 bits.
//
// Zeros in the padding change nothing: the graph pads the other side, too.
// Vectors (norms, biases) and position embeddings are F32. So are the weights of
// a mask decoder, unless typ is f16: it is small, and never quantized.
func Plan(c model.Config, typ string) ([]Choice, error) {
	m, err := findMix(typ)
	if err != nil {
		return nil, err
	}
	var all []Choice
	for _, spec := range c.Tensors() {
		all = append(all, m.choose(c, spec))
	}
	return all, nil
}

func (m mix) choose(c model.Config, spec model.TensorSpec) Choice {
	choice := Choice{Spec: spec, Type: gguf.TypeF32}
	for _, d := range spec.Shape {
		choice.Stored = append(choice.Stored, int64(d))
	}
	switch {
	case spec.Role == model.RoleMatrix:
		m.chooseMatrix(c, &choice)
	case spec.Role == model.RoleKernel && m.base == gguf.TypeF16:
		choice.Type = gguf.TypeF16
	case spec.Role == model.RoleKernel && m.base != gguf.TypeF32:
		choice.Why = "mask decoder: f32 but for type f16"
	case m.base != gguf.TypeF32:
		choice.Why = "always f32"
	}
	choice.Bytes = choice.Stored[0] / int64(choice.Type.BlockSize()) * int64(choice.Type.BlockBytes())
	for _, d := range choice.Stored[1:] {
		choice.Bytes *= d
	}
	return choice
}

func (m mix) chooseMatrix(c model.Config, choice *Choice) {
	wanted := m.wanted(c, choice.Spec)
	n := choice.Spec.Shape[0]
	choice.Type = wanted
	padded := model.PaddedRow(n, wanted)
	if other, ok := smaller[wanted]; ok && (padded-int64(n))*maxPadding > int64(n) {
		choice.Type = other
		padded = model.PaddedRow(n, other)
	}
	choice.Stored[0] = padded

	var why []string
	if wanted != m.base {
		why = append(why, fmt.Sprintf("%s here in %s", wanted, m.name))
	}
	switch {
	case choice.Type != wanted && padded != int64(n):
		why = append(why, fmt.Sprintf("%s does not fit rows of %d: %s, padded to %d", wanted, n, choice.Type, padded))
	case choice.Type != wanted:
		why = append(why, fmt.Sprintf("%s does not fit rows of %d: %s", wanted, n, choice.Type))
	case padded != int64(n):
		why = append(why, fmt.Sprintf("rows padded %d→%d", n, padded))
	}
	choice.Why = strings.Join(why, "; ")
}

// wanted is the type a matrix would have if every block fitted.
func (m mix) wanted(c model.Config, spec model.TensorSpec) gguf.Type {
	if m.base.BlockSize() == 1 {
		return m.base
	}
	if spec.Name == model.TensorHead || spec.Name == model.TensorEmbedding && c.Tied {
		if m.base == gguf.TypeQ8_0 {
			return m.base
		}
		return gguf.TypeQ6_K
	}
	if m.rule == nil || spec.Layer < 0 {
		return m.base
	}
	p := part{layer: spec.Layer, layers: c.Text.Layers, shared: c.Text.Heads / c.Text.KVHeads}
	name := strings.TrimSuffix(spec.Name, ".weight")
	if strings.HasPrefix(name, "v.") {
		p.layers, p.shared = c.Vision.Layers, 1
	}
	p.name = name[strings.LastIndexByte(name, '.')+1:]
	if p.name == "attn_out" { // the tower's name for it
		p.name = "attn_output"
	}
	return m.rule(p)
}

// TypeInfo describes an output type.
type TypeInfo struct {
	Name        string
	Description string  // a line for --help and tables
	FileType    uint32  // its general.file_type
	Bits        float64 // of a weight, in most matrices
}

// Types lists the output types, widest first.
func Types() []TypeInfo {
	var all []TypeInfo
	for _, m := range mixes {
		all = append(all, m.info())
	}
	return slices.Clip(all)
}

func (m mix) info() TypeInfo {
	return TypeInfo{m.name, m.about, m.fileType, 8 * float64(m.base.BlockBytes()) / float64(m.base.BlockSize())}
}

// FindType finds an output type by its name in any case; "" is q8_0. Others are
// an ErrUnknownType.
func FindType(name string) (TypeInfo, error) {
	m, err := findMix(name)
	return m.info(), err
}

// TypeOf returns the name of the output type that a file was converted to; "" if
// it does not say, or says one unknown here.
func TypeOf(h *gguf.Header) string {
	n, err := h.Int(gguf.KeyFileType)
	if err != nil {
		return ""
	}
	for _, m := range mixes {
		if int(m.fileType) == n {
			return m.name
		}
	}
	return ""
}
