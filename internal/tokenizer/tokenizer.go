// Package tokenizer turns text into token ids and ids into text, as PaliGemma's
// processor does.
//
// Texts are encoded here if the checkpoint's tokenizer.json has Gemma's layout
// and a model file holds it compiled (see [Compiled]): that is ready in some
// milliseconds. Otherwise they are left to Hugging Face's tokenizers library
// (through github.com/daulet/tokenizers, which needs cgo), which reads the
// tokenizer.json itself and takes more than a second for a real vocabulary. The
// ids are the same. The tag notokenizers builds without it. [OpenGGUF] does either in the background. Decoding is done
// here, from the pieces.
package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"paligemma/internal/gguf"
	"paligemma/internal/quote"
)

// Values of Source.Types: enum llama_token_type, as GGUF files have it.
const (
	TypeNormal      int32 = 1
	TypeUnknown     int32 = 2
	TypeControl     int32 = 3
	TypeUserDefined int32 = 4
	TypeUnused      int32 = 5
	TypeByte        int32 = 6
)

// Keys of a model file that only this project's files have.
const (
	KeyJSON     = "tokenizer.huggingface.json"     // the checkpoint's tokenizer.json, compact
	KeyPipeline = "tokenizer.huggingface.pipeline" // how to encode, where this package can do it: Pipeline
	KeyMerges   = "tokenizer.huggingface.merges"   // array of int32: Compiled.Merges
	KeyAdded    = "tokenizer.huggingface.added"    // array of int32: Compiled.Added
)

// maxText is the longest text to encode, in bytes, whatever the context.
const maxText = 1 << 28

// Source is all that a tokenizer is made from.
type Source struct {
	JSON   string   // the checkpoint's tokenizer.json
	Pieces []string // the text of each id
	Types  []int32  // of each id: Type…

	// Compiled is JSON compiled, or nil to let the library encode.
	Compiled *Compiled

	Image, BOS, EOS, PAD, UNK int

	// Context is the number of tokens that the model was made for: a text that
	// must have more is refused before it is encoded. 0: no such limit.
	Context int

	// header holds JSON and Compiled instead, if it is there: they are read
	// when they are needed.
	header *gguf.Header
}

// FromGGUF reads the tokenizer in a model's header.
func FromGGUF(h *gguf.Header) (Source, error) {
	src, err := declared(h)
	if err != nil {
		return src, err
	}
	return src, src.read()
}

// declared is what a header says of its tokenizer before anything long is read:
// enough to refuse a file that has none.
func declared(h *gguf.Header) (Source, error) {
	src := Source{header: h}
	if _, err := h.StringLen(KeyJSON); err != nil {
		return src, err
	}
	pieces, err := h.ArrayLen(gguf.KeyTokens)
	if err != nil {
		return src, err
	}
	types, err := h.ArrayLen(gguf.KeyTokenTypes)
	if err != nil {
		return src, err
	}
	if types != pieces {
		return src, fmt.Errorf("tokenizer: %d pieces with %d types", pieces, types)
	}
	arch, err := h.ShortString(gguf.KeyArchitecture)
	if err != nil {
		return src, err
	}
	for _, k := range []struct {
		key   string
		field *int
	}{
		{gguf.KeyImage, &src.Image}, {gguf.KeyBOS, &src.BOS}, {gguf.KeyEOS, &src.EOS}, {gguf.KeyPAD, &src.PAD}, {gguf.KeyUNK, &src.UNK},
		{arch + "." + gguf.KeyContext, &src.Context},
	} {
		if *k.field, err = h.Int(k.key); err != nil {
			return src, err
		}
	}
	return src, nil
}

// read reads the pieces and their types from the header.
func (s *Source) read() (err error) {
	if s.Pieces, err = s.header.Strings(gguf.KeyTokens); err != nil {
		return err
	}
	if s.Types, err = s.header.Int32s(gguf.KeyTokenTypes); err != nil {
		return err
	}
	return s.check()
}

// json is the tokenizer.json.
func (s Source) json() (string, error) {
	if s.header == nil {
		return s.JSON, nil
	}
	return s.header.String(KeyJSON)
}

// pipeline is the name of the header's way of encoding, or "" if it has none.
func (s Source) pipeline() (string, error) {
	if s.header == nil || !s.header.Has(KeyPipeline) {
		return "", nil
	}
	return s.header.String(KeyPipeline)
}

// compiled is the compiled form, or nil if there is none that this package
// knows.
func (s Source) compiled() (*Compiled, error) {
	name, err := s.pipeline()
	switch {
	case err != nil:
		return nil, err
	case name == "":
		return s.Compiled, nil
	case name != Pipeline:
		return nil, nil
	}
	h := s.header
	c := new(Compiled)
	if c.Merges, err = h.Int32s(KeyMerges); err != nil {
		return nil, err
	}
	if c.Added, err = h.Int32s(KeyAdded); err != nil {
		return nil, err
	}
	return c, nil
}

func (s Source) check() error {
	if len(s.Pieces) == 0 || len(s.Pieces) != len(s.Types) {
		return fmt.Errorf("tokenizer: %d pieces with %d types", len(s.Pieces), len(s.Types))
	}
	for i, t := range s.Types {
		if t < TypeNormal || t > TypeByte {
			return fmt.Errorf("tokenizer: token %d is of the unknown type %d", i, t)
		}
	}
	for _, id := range []int{s.Image, s.BOS, s.EOS, s.PAD, s.UNK} {
		if id < 0 || id >= len(s.Pieces) {
			return fmt.Errorf("tokenizer: the special token %d is not among the %d pieces", id, len(s.Pieces))
		}
	}
	return nil
}

// Tokenizer encodes and decodes; what it is asked waits until it has been read.
// Its methods may be called from several goroutines, Close excepted.
type Tokenizer struct {
	special bool

	loaded chan struct{} // closed when the following are set
	src    Source
	nul    int // the id of a zero byte
	limit  int // the longest text to encode, in bytes
	own    *encoder
	lib    *library // if there is no own
	err    error
}

// OpenGGUF opens the tokenizer in a model's header. The pieces are read and the
// encoder is made ready in the background, so that their errors come from Encode
// and Ready, which wait for it; the file must stay open until then. With
// special, special tokens that are typed in a text (<bos>, <image>) count as
// such; without, they are plain text.
func OpenGGUF(h *gguf.Header, special bool) (*Tokenizer, error) {
	src, err := declared(h)
	if err != nil {
		return nil, err
	}
	return start(src, special), nil
}

func start(src Source, special bool) *Tokenizer {
	t := &Tokenizer{src: src, special: special, loaded: make(chan struct{})}
	go func() {
		defer close(t.loaded)
		t.err = t.load()
	}()
	return t
}

// load reads the pieces, if that is still to do, and makes an encoder of the
// compiled form, or of the JSON where there is none.
func (t *Tokenizer) load() error {
	if t.src.Pieces == nil {
		if err := t.src.read(); err != nil {
			return err
		}
	}
	t.nul = zeroByte(t.src.Pieces, t.src.UNK)
	t.limit = textLimit(t.src.Pieces, t.src.Context)
	compiled, err := t.src.compiled()
	if err != nil {
		return err
	}
	if compiled != nil {
		if t.own, err = newEncoder(compiled, t.src.Pieces); err != nil {
			return fmt.Errorf("%s: %w", Pipeline, err)
		}
		return nil
	}
	text, err := t.src.json()
	if err != nil {
		return err
	}
	t.lib, err = loadLibrary(text, t.special)
	return err
}

// textLimit is the length of the longest text that may fit in a context, in
// bytes: no token covers more of it than the longest piece has. The exceptions,
// one unknown token for a run of characters and normalizers that shorten, are
// not Gemma's and not worth the work of encoding such a text.
func textLimit(pieces []string, context int) int {
	longest := 1
	for _, piece := range pieces {
		longest = max(longest, len(piece))
	}
	if context == 0 || context > maxText/longest {
		return maxText
	}
	return context * longest
}

// zeroByte is the token of a zero byte: the character itself, its byte, or
// else the unknown token.
func zeroByte(pieces []string, unk int) int {
	found := unk
	for id, piece := range pieces {
		switch piece {
		case "\x00":
			return id
		case "<0x00>":
			found = id
		}
	}
	return found
}

// Ready waits until the encoder is ready and returns the error of that, if
// there was one.
func (t *Tokenizer) Ready() error {
	<-t.loaded
	return t.err
}

// Close waits for the encoder and frees it. Decoding still works afterwards.
func (t *Tokenizer) Close() {
	<-t.loaded
	if t.lib != nil {
		t.lib.close()
		t.lib = nil
	}
	if t.err == nil {
		t.err = errors.New("the tokenizer is closed")
	}
}

// LengthError says that the model's context has no room for a text.
type LengthError struct{ message string }

func (e *LengthError) Error() string { return e.message }

// TooLong formats a LengthError.
func TooLong(format string, args ...any) error {
	return &LengthError{fmt.Sprintf(format, args...)}
}

// Encode returns the ids of a text, without any special token of its own.
// Invalid UTF-8 counts as U+FFFD.
func (t *Tokenizer) Encode(text string) ([]int, error) {
	if err := t.Ready(); err != nil {
		return nil, err
	}
	if len(text) > t.limit {
		return nil, TooLong("the text has %d bytes, which is more than the model's context of %d tokens can hold", len(text), t.src.Context)
	}
	var ids []int
	// The library takes C strings. No token spans a zero byte, so a text can
	// be cut there.
	for i, part := range strings.Split(text, "\x00") {
		if i > 0 {
			ids = append(ids, t.nul)
		}
		if part == "" {
			continue
		}
		if t.own != nil {
			ids = t.own.encode(ids, part, !t.special)
			continue
		}
		var err error
		if ids, err = t.encodeLibrary(ids, part); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// encodeLibrary appends what the library makes of a text.
func (t *Tokenizer) encodeLibrary(ids []int, text string) ([]int, error) {
	got := t.lib.encode(text)
	if len(got) == 0 {
		return nil, fmt.Errorf("the tokenizer cannot encode %s", quote.Short(text))
	}
	for _, id := range got {
		if int(id) >= len(t.src.Pieces) {
			return nil, fmt.Errorf("the tokenizer encodes %s as token %d, of %d", quote.Short(text), id, len(t.src.Pieces))
		}
		ids = append(ids, int(id))
	}
	return ids, nil
}

// Piece is the text of an id as the vocabulary spells it, such as "▁cat", and
// empty for an id outside it.
func (t *Tokenizer) Piece(id int) string {
	<-t.loaded
	if id < 0 || id >= len(t.src.Pieces) {
		return ""
	}
	return t.src.Pieces[id]
}

// Bytes returns what an id adds to a text, which may be a part of a character. Special
// tokens (unknown and control) and ids outside the vocabulary add nothing.
func (t *Tokenizer) Bytes(id int) []byte {
	s := t.NewStream()
	text := s.Push(id)
	if s.run != nil {
		return s.run
	}
	return []byte(text)
}

// Decode returns the text of ids. Special tokens (unknown and control) and ids
// beyond the vocabulary give nothing; <locNNNN> and <segNNN> give themselves.
func (t *Tokenizer) Decode(ids []int) string { return t.decode(ids, true) }

func (t *Tokenizer) decode(ids []int, skipSpecial bool) string {
	s := Stream{t: t, all: !skipSpecial}
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(s.Push(id))
	}
	b.WriteString(s.Flush())
	return b.String()
}

// Stream decodes ids as they come. What Push and Flush return, put together,
// is what Decode returns for all ids.
type Stream struct {
	t   *Tokenizer
	all bool   // special tokens too
	run []byte // of byte tokens, whose text depends on what follows
}

// NewStream begins a text.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Push takes the next id and returns the text that is now final. A run of byte
// tokens is held back until it ends: characters are never split.
func (s *Stream) Push(id int) string {
	<-s.t.loaded
	if id < 0 || id >= len(s.t.src.Pieces) {
		return ""
	}
	if typ := s.t.src.Types[id]; !s.all && (typ == TypeUnknown || typ == TypeControl) {
		return ""
	}
	piece := s.t.src.Pieces[id]
	if b, ok := byteOf(piece); ok {
		s.run = append(s.run, b)
		return ""
	}
	return s.Flush() + strings.ReplaceAll(piece, "▁", " ")
}

// Flush ends the text, or a part of it, and returns what was held back: the run
// of bytes if it is valid UTF-8, else U+FFFD for each (tokenizers'
// decoders/byte_fallback.rs).
func (s *Stream) Flush() string {
	run := s.run
	s.run = nil
	if utf8.Valid(run) {
		return string(run)
	}
	return strings.Repeat("\uFFFD", len(run))
}

// byteOf reads a byte token, "<0x0A>".
func byteOf(piece string) (byte, bool) {
	if len(piece) != 6 || piece[:3] != "<0x" || piece[5] != '>' {
		return 0, false
	}
	high, ok1 := hexDigit(piece[3])
	low, ok2 := hexDigit(piece[4])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
