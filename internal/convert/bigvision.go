package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"paligemma/internal/layout"
	"paligemma/internal/model"
	"paligemma/internal/npz"
	"paligemma/internal/quote"
	"paligemma/internal/safetensors"
)

// arrayPart ties a tensor to the array that it is a part of. axes names the array's axes
// in order, as big_vision's einsums do; L is the layer, a digit the index that is
// taken of an axis. shape is the tensor's: a letter for each axis, those of one
// dimension together, dimensions separated by commas.
type arrayPart struct{ tensor, array, axes, shape string }

// textParts are those of Gemma (big_vision/models/ppp/gemma.py). The norms' scales
// are stored as transformers stores them, without the one that is added.
var textParts = []arrayPart{
	{"embed_tokens.weight", "embedder/input_embedding", "VD", "V,D"},
	{"norm.weight", "final_norm/scale", "D", "D"},
	{"layers.%d.input_layernorm.weight", "layers/pre_attention_norm/scale", "LD", "D"},
	{"layers.%d.self_attn.o_proj.weight", "layers/attn/attn_vec_einsum/w", "LNHD", "D,NH"},
	{"layers.%d.mlp.gate_proj.weight", "layers/mlp/gating_einsum", "L0DF", "F,D"},
	{"layers.%d.mlp.up_proj.weight", "layers/mlp/gating_einsum", "L1DF", "F,D"},
	{"layers.%d.mlp.down_proj.weight", "layers/mlp/linear", "LFD", "D,F"},
}

// groupedParts are the projections where several query heads share a key head, and
// evenParts where each has one.
var (
	groupedParts = []arrayPart{
		{"layers.%d.self_attn.q_proj.weight", "layers/attn/q_einsum/w", "LNDH", "NH,D"},
		{"layers.%d.self_attn.k_proj.weight", "layers/attn/kv_einsum/w", "L0KDH", "KH,D"},
		{"layers.%d.self_attn.v_proj.weight", "layers/attn/kv_einsum/w", "L1KDH", "KH,D"},
	}
	evenParts = []arrayPart{
		{"layers.%d.self_attn.q_proj.weight", "layers/attn/qkv_einsum/w", "L0NDH", "NH,D"},
		{"layers.%d.self_attn.k_proj.weight", "layers/attn/qkv_einsum/w", "L1NDH", "NH,D"},
		{"layers.%d.self_attn.v_proj.weight", "layers/attn/qkv_einsum/w", "L2NDH", "NH,D"},
	}
)

// gemmaNorms and gemma2Norms are the norms in which the families differ.
var (
	gemmaNorms = []arrayPart{
		{"layers.%d.post_attention_layernorm.weight", "layers/pre_ffw_norm/scale", "LD", "D"},
	}
	gemma2Norms = []arrayPart{
		{"layers.%d.post_attention_layernorm.weight", "layers/post_attention_norm/scale", "LD", "D"},
		{"layers.%d.pre_feedforward_layernorm.weight", "layers/pre_ffw_norm/scale", "LD", "D"},
		{"layers.%d.post_feedforward_layernorm.weight", "layers/post_ffw_norm/scale", "LD", "D"},
	}
)

const (
	encoderBlock   = "Transformer/encoderblock/"
	attentionBlock = encoderBlock + "MultiHeadDotProductAttention_0/"
)

// towerParts are those of the vision tower (big_vision/models/vit.py). Its head is the
// projector, of which see projectorParts.
var towerParts = []arrayPart{
	{"embeddings.patch_embedding.weight", "embedding/kernel", "HWCD", "D,C,H,W"},
	{"embeddings.patch_embedding.bias", "embedding/bias", "D", "D"},
	{layout.PositionName, "pos_embedding", "0PD", "P,D"},
	{"encoder.layers.%d.layer_norm1.weight", encoderBlock + "LayerNorm_0/scale", "LD", "D"},
	{"encoder.layers.%d.layer_norm1.bias", encoderBlock + "LayerNorm_0/bias", "LD", "D"},
	{"encoder.layers.%d.self_attn.q_proj.weight", attentionBlock + "query/kernel", "LDNH", "NH,D"},
	{"encoder.layers.%d.self_attn.q_proj.bias", attentionBlock + "query/bias", "LNH", "NH"},
	{"encoder.layers.%d.self_attn.k_proj.weight", attentionBlock + "key/kernel", "LDNH", "NH,D"},
	{"encoder.layers.%d.self_attn.k_proj.bias", attentionBlock + "key/bias", "LNH", "NH"},
	{"encoder.layers.%d.self_attn.v_proj.weight", attentionBlock + "value/kernel", "LDNH", "NH,D"},
	{"encoder.layers.%d.self_attn.v_proj.bias", attentionBlock + "value/bias", "LNH", "NH"},
	{"encoder.layers.%d.self_attn.out_proj.weight", attentionBlock + "out/kernel", "LNHD", "D,NH"},
	{"encoder.layers.%d.self_attn.out_proj.bias", attentionBlock + "out/bias", "LD", "D"},
	{"encoder.layers.%d.layer_norm2.weight", encoderBlock + "LayerNorm_1/scale", "LD", "D"},
	{"encoder.layers.%d.layer_norm2.bias", encoderBlock + "LayerNorm_1/bias", "LD", "D"},
	{"encoder.layers.%d.mlp.fc1.weight", encoderBlock + "MlpBlock_0/Dense_0/kernel", "LDF", "F,D"},
	{"encoder.layers.%d.mlp.fc1.bias", encoderBlock + "MlpBlock_0/Dense_0/bias", "LF", "F"},
	{"encoder.layers.%d.mlp.fc2.weight", encoderBlock + "MlpBlock_0/Dense_1/kernel", "LFD", "D,F"},
	{"encoder.layers.%d.mlp.fc2.bias", encoderBlock + "MlpBlock_0/Dense_1/bias", "LD", "D"},
	{"post_layernorm.weight", "Transformer/encoder_norm/scale", "D", "D"},
	{"post_layernorm.bias", "Transformer/encoder_norm/bias", "D", "D"},
}

var projectorParts = []arrayPart{
	{"linear.weight", "head/kernel", "DO", "O,D"},
	{"linear.bias", "head/bias", "O", "O"},
}

// arrayTypes are the element types of weights, by NumPy's names.
var arrayTypes = map[string]safetensors.DType{
	"<f8": safetensors.F64, "<f4": safetensors.F32, "<f2": safetensors.F16, "|V2": safetensors.BF16, "<V2": safetensors.BF16,
}

// ofModel finds the arrays of a PaliGemma: those of its two models, in a checkpoint of
// training below params/.
var ofModel = regexp.MustCompile(`^(params/)?(img|llm)/`)

// IsBigVision reports whether a checkpoint is named as one of big_vision.
func IsBigVision(path string) bool { return strings.EqualFold(filepath.Ext(path), ".npz") }

// bigVision is a checkpoint of big_vision.
type bigVision struct {
	*npz.Archive
	names []string               // of the model's arrays, sorted
	root  string                 // of their names: "params/" or ""
	views map[string]stridedRows // by the entry's name
}

func (b *bigVision) rows(e safetensors.Entry, _ int, plusOne bool) rowSource {
	view := b.views[e.Name]
	view.plusOne = plusOne
	return view
}

func (b *bigVision) equal(ctx context.Context, x, y safetensors.Entry) (bool, error) {
	return equalValues(ctx, b, x, y)
}

// openBigVision opens a checkpoint of big_vision, whose shapes say what it is.
func openBigVision(ctx context.Context, path string, opts Options) (*conversion, error) {
	if opts.Prefix != "" {
		return nil, errors.New("--prefix is for safetensors: of an npz the arrays img/… and llm/… are read")
	}
	archive, err := npz.Open(path)
	if err != nil {
		return nil, explainNPZ(path, err)
	}
	b := &bigVision{Archive: archive, views: map[string]stridedRows{}}
	c := &conversion{ckpt: b}
	if err = b.read(ctx, c, path, opts); err != nil {
		archive.Close()
		return nil, err
	}
	return c, nil
}

// explainNPZ says what else a file named .npz is.
func explainNPZ(path string, err error) error {
	start := firstBytes(path)
	if what := safetensors.DescribeForeign(start); what != "" && !strings.HasPrefix(string(start), "PK") {
		return because(err, "this is %s", what)
	}
	return err
}

// read makes a conversion of the arrays.
func (b *bigVision) read(ctx context.Context, c *conversion, path string, opts Options) error {
	tensors, h, err := b.catalog(path)
	if err != nil {
		return err
	}
	s, err := tensors.shapeSettings(h)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := needTokenizer(dir, opts.Tokenizer); err != nil {
		return err
	}
	if err := c.finish(ctx, dir, opts.Tokenizer, s, tensors); err != nil {
		return err
	}
	return b.verify(ctx)
}

// verify compares the checksums of the model's arrays, once all else is right: that reads
// all of them, and the rows, which are read in parts and in another order, have none.
func (b *bigVision) verify(ctx context.Context) error {
	for _, name := range b.names {
		if err := b.Verify(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// catalog sorts the arrays by the tensors that they hold.
func (b *bigVision) catalog(path string) (*catalog, heads, error) {
	var outside []string
	for _, name := range b.Names() {
		if ofModel.MatchString(name) {
			b.names = append(b.names, name)
		} else {
			outside = append(outside, name)
		}
	}
	if len(b.names) == 0 {
		if slices.Contains(outside, model.MaskTensors()[0].Source) {
			return nil, heads{}, fmt.Errorf("%w: this is the mask codec: name it with --mask-decoder", model.ErrNotPaliGemma)
		}
		return nil, heads{}, fmt.Errorf("%w: no arrays img/… and llm/… (there are %s): name a checkpoint of big_vision's PaliGemma", model.ErrNotPaliGemma, cmp.Or(few(outside), "none"))
	}
	if strings.HasPrefix(b.names[len(b.names)-1], "params/") {
		b.root = "params/"
	}
	c := &catalog{files: b, named: map[string]safetensors.Entry{}, advice: shapesAdvice}
	c.note(outside, "an array that is no part of PaliGemma, is ignored", "arrays that are no part of PaliGemma, are ignored")
	used := map[string]bool{}
	for _, group := range b.groups() {
		for _, p := range group.parts {
			used[b.root+group.model+p.array] = true
			if err := b.add(c, group.prefix, group.model, p, path); err != nil {
				return nil, heads{}, err
			}
		}
	}
	if unknown := slices.DeleteFunc(slices.Clone(b.names), func(name string) bool { return used[name] }); len(unknown) > 0 {
		return nil, heads{}, fmt.Errorf("arrays are unknown (%s): the file is another model's, or its layers are not stacked", few(unknown))
	}
	return c, b.heads(), nil
}

// partGroup is one of the models in a checkpoint: its prefix in transformers and in
// big_vision, and its arrays.
type partGroup struct {
	prefix, model string
	parts         []arrayPart
}

// groups returns the arrays that this checkpoint should have.
func (b *bigVision) groups() []partGroup {
	text := slices.Concat(textParts, groupedParts)
	if _, err := b.Array(b.root + "llm/layers/attn/qkv_einsum/w"); !errors.Is(err, npz.ErrNotFound) {
		text = slices.Concat(textParts, evenParts)
	}
	norms := gemmaNorms
	if _, err := b.Array(b.root + "llm/layers/post_ffw_norm/scale"); !errors.Is(err, npz.ErrNotFound) {
		norms = gemma2Norms
	}
	return []partGroup{
		{layout.TextPrefix, "llm/", slices.Concat(text, norms)},
		{layout.VisionPrefix, "img/", towerParts},
		{layout.ProjectorPrefix, "img/", projectorParts},
	}
}

// heads returns the numbers of heads, which are dimensions of their own here.
func (b *bigVision) heads() heads {
	dim := func(name string, axis int) int {
		a, err := b.Array(b.root + name)
		if err != nil || axis >= len(a.Shape) {
			return 0 // add has refused it
		}
		return int(a.Shape[axis])
	}
	h := heads{
		text: dim("llm/layers/attn/attn_vec_einsum/w", 1), dim: dim("llm/layers/attn/attn_vec_einsum/w", 2),
		kv: dim("llm/layers/attn/kv_einsum/w", 2), vision: dim("img/"+attentionBlock+"query/kernel", 2),
	}
	if h.kv == 0 {
		h.kv = h.text
	}
	return h
}

// add puts the tensors that an array holds, one or one of each layer, into a catalog.
func (b *bigVision) add(c *catalog, prefix, model string, p arrayPart, path string) error {
	a, err := b.Array(b.root + model + p.array)
	if errors.Is(err, npz.ErrNotFound) {
		return fmt.Errorf("array %s is missing: %s", b.root+model+p.array, c.advice.missing)
	}
	if err != nil {
		return err
	}
	dtype, ok := arrayTypes[a.Type]
	if !ok {
		return fmt.Errorf("array %s is of the type %s, want float32, float16 or bfloat16", shown(a.Name), quote.Short(a.Type))
	}
	view, shape, layers, err := p.view(a)
	if err != nil {
		return err
	}
	view.archive, view.array, view.dtype = b.Archive, a, dtype
	elements := int64(1)
	for _, d := range shape {
		elements *= d
	}
	for layer := range max(1, layers) {
		one, name, tensor := view, p.index(a.Name, layer), prefix+p.tensor
		if layers > 0 {
			one.base += layer * int(a.Size/dtype.Size()) / layers
			tensor = prefix + fmt.Sprintf(p.tensor, layer)
		}
		b.views[name] = one
		c.named[tensor] = safetensors.Entry{
			Tensor: safetensors.Tensor{Name: name, DType: dtype, Shape: shape, Size: elements * dtype.Size()}, Path: path,
		}
	}
	return nil
}

// index returns what NumPy would call the part of an array: NAME[3,0].
func (p arrayPart) index(array string, layer int) string {
	var indices []string
	for _, letter := range p.axes {
		switch letter {
		case 'L':
			indices = append(indices, strconv.Itoa(layer))
		case '0', '1', '2':
			indices = append(indices, string(letter))
		}
	}
	if indices == nil {
		return array
	}
	return array + "[" + strings.Join(indices, ",") + "]"
}

// view returns where the tensor of the first layer lies in an array, its shape, and
// how many layers there are; 0 if the array is not of layers.
func (p arrayPart) view(a npz.Array) (view stridedRows, shape []int64, layers int, err error) {
	if len(a.Shape) != len(p.axes) {
		return view, nil, 0, fmt.Errorf("array %s has the shape %v, want %d dimensions", shown(a.Name), a.Shape, len(p.axes))
	}
	axes := map[rune]axis{}
	stride := 1
	for i := len(p.axes) - 1; i >= 0; i-- {
		n := int(a.Shape[i])
		switch letter := rune(p.axes[i]); letter {
		case '0', '1', '2':
			if want := p.picks(); n != want {
				return view, nil, 0, fmt.Errorf("array %s has the shape %v, want %d at index %d", shown(a.Name), a.Shape, want, i)
			}
			view.base += int(letter-'0') * stride
		case 'L':
			layers = n
		default:
			axes[letter] = axis{n, stride}
		}
		stride *= n
	}
	if layers > maxLayers {
		return view, nil, 0, fmt.Errorf("array %s has %d layers, at most %d are read", shown(a.Name), layers, maxLayers)
	}
	dimensions := strings.Split(p.shape, ",")
	for i, letters := range dimensions {
		size := 1
		for _, letter := range letters {
			size *= axes[letter].n
			if i == 0 && len(dimensions) > 1 {
				view.rows = append(view.rows, axes[letter])
			} else {
				view.cols = append(view.cols, axes[letter])
			}
		}
		shape = append(shape, int64(size))
	}
	view.rows, view.cols = joinAxes(view.rows), joinAxes(view.cols)
	return view, shape, layers, nil
}

// picks returns how many tensors lie along the axis of which one index is taken.
func (p arrayPart) picks() int {
	switch {
	case strings.HasPrefix(p.array, "layers/attn/qkv"):
		return 3
	case strings.HasPrefix(p.array, "layers/"):
		return 2
	}
	return 1
}
