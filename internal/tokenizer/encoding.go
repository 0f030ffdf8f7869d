package tokenizer

import "paligemma/internal/gguf"

// Values of Encoding.Encoder.
const (
	EncoderCompiled = "compiled" // this package, from the compiled form: ready in some milliseconds
	EncoderLibrary  = "library"  // Hugging Face's tokenizers, from the tokenizer.json: ready in a second or more
)

// Encoding says what encodes texts for a model file.
type Encoding struct {
	Encoder string `json:"encoder"`
	Reason  string `json:"reason,omitempty"` // why it is the library
	Update  bool   `json:"update,omitempty"` // the file lacks the compiled form, which quantize can add
}

// String describes it on one line.
func (e Encoding) String() string {
	if e.Encoder == EncoderCompiled {
		return "compiled, ready in milliseconds"
	}
	text := "Hugging Face's library, which takes a second or more to start: " + e.Reason
	if e.Update {
		text += "; `paligemma quantize` brings it up to date"
	}
	return text
}

// EncodingOf reads what encodes texts for a model file. Where that is the
// library, it tries to compile the tokenizer.json, which takes about a second.
func EncodingOf(h *gguf.Header) (Encoding, error) {
	src, err := declared(h)
	if err != nil {
		return Encoding{}, err
	}
	name, err := src.pipeline()
	switch {
	case err != nil:
		return Encoding{}, err
	case name == Pipeline:
		return Encoding{Encoder: EncoderCompiled}, nil
	case name != "":
		return Encoding{Encoder: EncoderLibrary, Reason: "the file is compiled for another version of this program"}, nil
	}
	if err := src.read(); err != nil {
		return Encoding{}, err
	}
	_, e, err := src.Compile()
	e.Update = e.Encoder == EncoderCompiled
	if e.Update {
		e.Encoder, e.Reason = EncoderLibrary, "the file was converted before its tokenizer could be compiled"
	}
	return e, err
}

// Compile compiles the tokenizer.json of a file without the compiled form. That
// is nil if only the library can encode, which the Encoding then explains.
func (s Source) Compile() (*Compiled, Encoding, error) {
	text, err := s.json()
	if err != nil {
		return nil, Encoding{}, err
	}
	c, err := compile(text, s.Pieces)
	c, e := compiled(c, err)
	return c, e, nil
}

// Compile compiles the file for a model whose ids have the given pieces. The
// compiled form is nil if only the library can encode, which the Encoding then
// explains.
func (f *File) Compile(pieces []string) (*Compiled, Encoding) { return compiled(f.compile(pieces)) }

// compiled explains an error of compile.
func compiled(c *Compiled, err error) (*Compiled, Encoding) {
	if err != nil {
		return nil, Encoding{Encoder: EncoderLibrary, Reason: err.Error()}
	}
	return c, Encoding{Encoder: EncoderCompiled}
}

// SetKeys writes the compiled form to a model file.
func (c *Compiled) SetKeys(w *gguf.Writer) {
	w.SetString(KeyPipeline, Pipeline)
	w.SetInt32s(KeyMerges, c.Merges)
	w.SetInt32s(KeyAdded, c.Added)
}
