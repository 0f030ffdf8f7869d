package convert

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"paligemma/internal/gguf"
	"paligemma/internal/layout"
	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/regular"
	"paligemma/internal/safetensors"
)

// Keys of the vision part of a pair, as llama.cpp writes them.
const (
	clipArch          = "clip"
	keyProjectorType  = "clip.projector_type"
	keyEmbeddingScale = "clip.embeddings_scale" // of llama.cpp's branch for PaliGemma of 2024
)

// pair is a PaliGemma as two GGUF files of llama.cpp: the language model and the
// vision part.
type pair struct {
	text, vision *gguf.File
	tensors      map[string]stored // by the entry's name
}

// stored is a tensor in one of the files.
type stored struct {
	file   *gguf.File
	tensor gguf.Tensor
}

// rows returns a tensor's rows as they are: llama.cpp's norms have the one already.
func (p *pair) rows(e safetensors.Entry, width int, _ bool) rowSource {
	s := p.tensors[e.Name]
	s.tensor.Shape = []int64{int64(width), e.Elements() / int64(width)}
	return fileRows{s.file, s.tensor, width}
}

func (p *pair) equal(ctx context.Context, x, y safetensors.Entry) (bool, error) {
	return equalValues(ctx, p, x, y)
}

// Unchanged returns an error if a file was changed since it was opened.
func (p *pair) Unchanged() error { return errors.Join(p.text.Unchanged(), p.vision.Unchanged()) }

// Close closes the files.
func (p *pair) Close() error {
	var err error
	for _, f := range []*gguf.File{p.text, p.vision} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// openPair opens a language model in GGUF and the vision part that belongs to it.
func openPair(ctx context.Context, path string, opts Options) (*conversion, error) {
	if opts.Prefix != "" {
		return nil, errors.New("--prefix is for safetensors, not for a pair of GGUF files")
	}
	p := &pair{tensors: map[string]stored{}}
	c := &conversion{ckpt: p}
	err := p.open(path, opts.Projector)
	if err == nil {
		err = p.read(ctx, c, path, opts)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return c, nil
}

// halfOfPair says what to type for a GGUF file that is one of a pair; "" if it is not.
func halfOfPair(path string) string {
	f, err := regular.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	header, err := gguf.Parse(f, f.Size())
	if err != nil {
		return ""
	}
	switch arch, _ := header.ShortString(gguf.KeyArchitecture); arch {
	case "gemma", "gemma2":
		return "a language model without its vision part: name that, too (--mmproj MMPROJ.gguf)"
	case clipArch:
		return "a vision part without its language model: name that, and this file after --mmproj"
	}
	return ""
}

// open opens the files and checks what they are.
func (p *pair) open(text, vision string) (err error) {
	if p.text, err = gguf.Open(text, gguf.Options{}); err != nil {
		return err
	}
	if p.vision, err = gguf.Open(vision, gguf.Options{}); err != nil {
		return fmt.Errorf("--mmproj: %w", err)
	}
	arch, _ := p.text.ShortString(gguf.KeyArchitecture)
	switch arch {
	case "gemma", "gemma2":
	case model.ArchPaliGemma, model.ArchPaliGemma2:
		return errors.New("a whole PaliGemma already: use it with --model, or change its type with `paligemma quantize`")
	case clipArch:
		return errors.New("this is the vision part: name the language model, and this file after --mmproj")
	default:
		return fmt.Errorf("%w: the language model is %s, want gemma or gemma2", model.ErrNotPaliGemma, quote.Short(arch))
	}
	if arch, _ := p.vision.ShortString(gguf.KeyArchitecture); arch != clipArch {
		return fmt.Errorf("--mmproj: general.architecture is %s, want %s: name the file of the vision tower and projector", quote.Short(arch), clipArch)
	}
	return nil
}

// read makes a conversion of the two files.
func (p *pair) read(ctx context.Context, c *conversion, path string, opts Options) error {
	s, err := p.settings()
	if err != nil {
		return err
	}
	tensors := &catalog{files: p, named: map[string]safetensors.Entry{}, advice: pairAdvice}
	if err := p.sort(tensors, s.config); err != nil {
		return err
	}
	s.config.Text.AttnScale = tensors.attnScale(s.config)
	s.image = releasedImage(s.config.Text.Vocab)
	p.noteScale(tensors)
	dir := filepath.Dir(path)
	if err := needTokenizer(dir, opts.Tokenizer); err != nil {
		return err
	}
	return c.finish(ctx, dir, opts.Tokenizer, s, tensors)
}

// settings makes a configuration of the files' keys.
func (p *pair) settings() (*settings, error) {
	arch, _ := p.text.ShortString(gguf.KeyArchitecture)
	s := &settings{config: families[arch], tied: true, from: "the files' keys"}
	k := &keys{header: p.text.Header, prefix: arch + "."}
	t := &s.config.Text
	t.Layers, t.Hidden, t.MLP = k.int("block_count"), k.int("embedding_length"), k.int("feed_forward_length")
	t.Heads, t.HeadDim = k.int("attention.head_count"), k.int("attention.key_length")
	t.KVHeads, t.Context = k.int("attention.head_count_kv"), k.int("context_length")
	t.RMSEps = k.float("attention.layer_norm_rms_epsilon", t.RMSEps)
	t.RopeTheta = k.float("rope.freq_base", t.RopeTheta)
	if arch == "gemma2" {
		t.AttnSoftcap = k.float("attn_logit_softcapping", t.AttnSoftcap)
		t.FinalSoftcap = k.float("final_logit_softcapping", t.FinalSoftcap)
		if p.text.Has(k.prefix + "attention.sliding_window") {
			t.SlidingWindow = k.int("attention.sliding_window")
		}
	}
	if e, ok := p.text.Lookup(model.TensorEmbedding); ok && len(e.Shape) > 1 {
		t.Vocab = int(e.Shape[1])
	}
	p.readTower(&s.config.Vision, k)
	if k.err != nil {
		return nil, k.err
	}
	if t.Layers < 1 || t.Layers > maxLayers {
		return nil, fmt.Errorf("gguf key %sblock_count is %d, want 1 to %d layers", k.prefix, t.Layers, maxLayers)
	}
	return s, nil
}

// readTower fills the vision tower's part.
func (p *pair) readTower(v *model.VisionConfig, text *keys) {
	k := &keys{header: p.vision.Header, prefix: "clip.vision."}
	*v = model.So400m
	v.ImageSize, v.PatchSize, v.Hidden = k.int("image_size"), k.int("patch_size"), k.int("embedding_length")
	v.MLP, v.Heads = k.int("feed_forward_length"), k.int("attention.head_count")
	v.NormEps = k.float("attention.layer_norm_epsilon", v.NormEps)
	// block_count is one less where a converter was made for LLaVA's towers.
	for v.Layers = 0; v.Layers < maxLayers; v.Layers++ {
		if _, ok := p.vision.Lookup(fmt.Sprintf("v.blk.%d.ln1.weight", v.Layers)); !ok {
			break
		}
	}
	v.Mean, v.Std = k.three("image_mean"), k.three("image_std")
	if v.PatchSize > 0 {
		v.ImageTokens = v.Patches() * v.Patches()
	}
	if text.err == nil {
		text.err = k.err
	}
}

// keys reads the keys of a file below a prefix; the first error stays.
type keys struct {
	header *gguf.Header
	prefix string
	err    error
}

func (k *keys) int(key string) int {
	n, err := k.header.Int(k.prefix + key)
	if k.err == nil {
		k.err = err
	}
	return n
}

// float reads a number that may be missing.
func (k *keys) float(key string, missing float32) float32 {
	if !k.header.Has(k.prefix + key) {
		return missing
	}
	v, err := k.header.Float32(k.prefix + key)
	if k.err == nil {
		k.err = err
	}
	return v
}

// three reads three numbers, of which each is 0.5 where they are missing.
func (k *keys) three(key string) [3]float32 {
	values := []float32{0.5, 0.5, 0.5}
	if k.header.Has(k.prefix + key) {
		var err error
		if values, err = k.header.Float32s(k.prefix + key); err == nil && len(values) != 3 {
			err = fmt.Errorf("gguf key %s has %d numbers, want 3", k.prefix+key, len(values))
		}
		if k.err == nil {
			k.err = err
		}
		if len(values) != 3 {
			return [3]float32{}
		}
	}
	return [3]float32(values)
}

// sort puts the files' tensors into a catalog. They are called as in the output, but for
// the projector of later versions and for older files that swap the MLP's matrices.
func (p *pair) sort(c *catalog, config model.Config) error {
	names := layout.Names(config)
	swapped := p.swapped(config)
	for _, f := range []*gguf.File{p.text, p.vision} {
		for _, t := range f.Tensors {
			name := strings.Replace(t.Name, "mm.input_projection.", "mm.0.", 1)
			if swapped && f == p.vision {
				name = swapMLP.Replace(name)
			}
			canonical := "language_model." + t.Name // not the model's: leftovers refuses it
			if n, ok := names[name]; ok {
				canonical = n.HF
			}
			if t.Type.BlockSize() > 1 {
				return fmt.Errorf("tensor %s is %v: %w", shown(t.Name), t.Type, errPairQuantized)
			}
			if c.has(canonical) {
				return fmt.Errorf("tensor %s is in the files twice", shown(t.Name))
			}
			dtype := safetensors.DType(strings.ToUpper(t.Type.String()))
			if dtype.Size() == 0 {
				return fmt.Errorf("tensor %s is %v, want f32, f16 or bf16", shown(t.Name), t.Type)
			}
			shape := slices.Clone(t.Shape)
			slices.Reverse(shape)
			c.named[canonical] = safetensors.Entry{Tensor: safetensors.Tensor{Name: t.Name, DType: dtype, Shape: shape, Size: t.Size}, Path: f.Path()}
			p.tensors[t.Name] = stored{f, t}
		}
	}
	return nil
}

var errPairQuantized = errors.New("the pair is quantized already, and rounding again loses more: name its f32, f16 or bf16 files")

// swapMLP exchanges the names of the vision tower's MLP.
var swapMLP = strings.NewReplacer(".ffn_up.", ".ffn_down.", ".ffn_down.", ".ffn_up.")

// swapped reports whether the first matrix of the vision tower's MLP is called
// ffn_down, as llama.cpp's converters did until 2025.
func (p *pair) swapped(config model.Config) bool {
	t, ok := p.vision.Lookup("v.blk.0.ffn_down.weight")
	v := config.Vision
	return ok && v.Hidden != v.MLP && slices.Equal(t.Shape, []int64{int64(v.Hidden), int64(v.MLP)})
}

// noteScale says what is assumed of a projector of which the file does not say whether
// 1/√width was multiplied into it: llama.cpp before 2025 scaled all that it embedded.
func (p *pair) noteScale(c *catalog) {
	kind, _ := p.vision.ShortString(keyProjectorType)
	if !p.vision.Has(keyEmbeddingScale) && !strings.HasPrefix(kind, "paligemma") {
		c.notes = append(c.notes, "the vision part does not say how the projector is scaled ("+keyEmbeddingScale+"), which is taken to be the checkpoint's own: if answers have nothing to do with pictures, it was not")
	}
}
