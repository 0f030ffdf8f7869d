// Package sentencepiece reads SentencePiece's model files (tokenizer.model), as
// far as they are of Gemma's kind, and writes the tokenizer.json that they stand
// for. Every count and length is checked before it is used.
package sentencepiece

import (
	"errors"
	"fmt"
	"math"

	"paligemma/internal/quote"
)

// Limits of what is read. Gemma has 256,000 pieces of up to 93 bytes.
const (
	maxPieces      = 1 << 20
	maxPieceLength = 255
)

// Types of pieces: ModelProto.SentencePiece.Type.
const (
	typeNormal      = 1
	typeUnknown     = 2
	typeControl     = 3
	typeUserDefined = 4
	typeUnused      = 5
	typeByte        = 6
)

// modelTypes names the values of TrainerSpec.ModelType.
var modelTypes = map[int32]string{1: "unigram", 2: "BPE", 3: "word", 4: "character"}

const typeBPE = 2

// Model is a model file of Gemma's kind: byte-pair encoding with byte fallback
// of texts as they are, each space written as "▁".
type Model struct {
	pieces []piece // by id
	unk    string  // the one piece of typeUnknown

	modelType    int32
	byteFallback bool
	normalizer   normalizer
	denormalizer normalizer
}

type piece struct {
	text  string
	score float32
	kind  int32
}

// normalizer is a NormalizerSpec.
type normalizer struct {
	name         string
	charsmap     []byte
	rules        string
	dummyPrefix  bool
	removeSpaces bool
	escapeSpaces bool
}

// Parse reads a model file. An error says what is broken, or not Gemma's.
func Parse(data []byte) (*Model, error) {
	m := &Model{
		modelType:  1,
		normalizer: normalizer{dummyPrefix: true, removeSpaces: true, escapeSpaces: true},
	}
	if err := fields(data, m.set); err != nil {
		return nil, fmt.Errorf("not a sentencepiece model: %w", err)
	}
	if err := m.checkKind(); err != nil {
		return nil, err
	}
	return m, m.checkPieces()
}

// set takes over a field of ModelProto.
func (m *Model) set(number int, v value) error {
	switch number {
	case 1:
		if len(m.pieces) == maxPieces {
			return fmt.Errorf("more than %d pieces", maxPieces)
		}
		p := piece{kind: typeNormal}
		if err := v.message(p.set); err != nil {
			return fmt.Errorf("piece %d: %w", len(m.pieces), err)
		}
		m.pieces = append(m.pieces, p)
	case 2:
		return within("trainer_spec", v.message(m.setTrainer))
	case 3:
		return within("normalizer_spec", v.message(m.normalizer.set))
	case 5:
		return within("denormalizer_spec", v.message(m.denormalizer.set))
	}
	return nil
}

// within says which message an error is of.
func within(name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// set takes over a field of SentencePiece.
func (p *piece) set(number int, v value) error {
	switch number {
	case 1:
		return v.setString(&p.text)
	case 2:
		return v.setFloat32(&p.score)
	case 3:
		return v.setInt32(&p.kind)
	}
	return nil
}

// setTrainer takes over a field of TrainerSpec.
func (m *Model) setTrainer(number int, v value) error {
	switch number {
	case 3:
		return v.setInt32(&m.modelType)
	case 35:
		return v.setBool(&m.byteFallback)
	}
	return nil
}

// set takes over a field of NormalizerSpec.
func (n *normalizer) set(number int, v value) error {
	switch number {
	case 1:
		return v.setString(&n.name)
	case 2:
		return v.setBytes(&n.charsmap)
	case 3:
		return v.setBool(&n.dummyPrefix)
	case 4:
		return v.setBool(&n.removeSpaces)
	case 5:
		return v.setBool(&n.escapeSpaces)
	case 6:
		return v.setString(&n.rules)
	}
	return nil
}

// changesText reports whether the normalizer replaces characters.
func (n *normalizer) changesText() bool { return len(n.charsmap) > 0 || n.rules != "" }

// checkKind refuses models that encode otherwise than Gemma's.
func (m *Model) checkKind() error {
	switch n := &m.normalizer; {
	case len(m.pieces) == 0:
		return errors.New("a sentencepiece model without pieces")
	case m.modelType != typeBPE:
		kind, ok := modelTypes[m.modelType]
		if !ok {
			kind = fmt.Sprint("type ", m.modelType)
		}
		return fmt.Errorf("a sentencepiece model of the kind %s, and Gemma's is BPE", kind)
	case n.changesText():
		return fmt.Errorf("a sentencepiece model that normalizes texts (%s), and Gemma's leaves them as they are", quote.Short(n.name))
	case n.dummyPrefix:
		return errors.New("a sentencepiece model that puts a space before texts (add_dummy_prefix), and Gemma's does not")
	case n.removeSpaces:
		return errors.New("a sentencepiece model that removes spaces (remove_extra_whitespaces), and Gemma's keeps them")
	case !n.escapeSpaces:
		return errors.New("a sentencepiece model without ▁ for spaces (escape_whitespaces is false), and Gemma's has it")
	case m.denormalizer.changesText():
		return errors.New("a sentencepiece model that changes what it decodes (denormalizer_spec), and Gemma's does not")
	case !m.byteFallback:
		return errors.New("a sentencepiece model without byte_fallback, and Gemma's has it")
	}
	return nil
}

// checkPieces checks each piece, and them together as SentencePiece does.
func (m *Model) checkPieces() error {
	known := make(map[string]bool, len(m.pieces))
	bytes := 0
	for id, p := range m.pieces {
		if err := p.check(); err != nil {
			return fmt.Errorf("piece %d of the sentencepiece model %w", id, err)
		}
		if known[p.text] {
			return fmt.Errorf("the sentencepiece model has the piece %s twice", quote.Short(p.text))
		}
		known[p.text] = true
		switch p.kind {
		case typeByte:
			bytes++
		case typeUnknown:
			if m.unk != "" {
				return fmt.Errorf("the sentencepiece model has two unknown pieces, %s and %s", quote.Short(m.unk), quote.Short(p.text))
			}
			m.unk = p.text
		}
	}
	switch {
	case m.unk == "":
		return errors.New("the sentencepiece model has no unknown piece")
	case bytes != 256: // each of another byte, since no piece is there twice
		return fmt.Errorf("the sentencepiece model has %d pieces for bytes, not 256", bytes)
	}
	return nil
}

// check refuses a piece that means nothing, and the type that Gemma lacks.
func (p *piece) check() error {
	switch {
	case p.text == "":
		return errors.New("is empty")
	case len(p.text) > maxPieceLength:
		return fmt.Errorf("has %d bytes, and %d is the most", len(p.text), maxPieceLength)
	case math.IsNaN(float64(p.score)) || math.IsInf(float64(p.score), 0):
		return fmt.Errorf("has the score %v", p.score)
	case p.kind == typeUnused:
		return fmt.Errorf("(%s) is marked as unused, which Gemma's are not", quote.Short(p.text))
	case p.kind < typeNormal || p.kind > typeByte:
		return fmt.Errorf("has the unknown type %d", p.kind)
	case p.kind == typeByte && !isByte(p.text):
		return fmt.Errorf("(%s) is not a byte", quote.Short(p.text))
	}
	return nil
}

// isByte reports whether a piece is the spelling of a byte, "<0x0A>".
func isByte(text string) bool {
	var b byte
	n, err := fmt.Sscanf(text, "<0x%02X>", &b)
	return n == 1 && err == nil && text == fmt.Sprintf("<0x%02X>", b)
}
