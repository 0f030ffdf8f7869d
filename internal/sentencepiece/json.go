package sentencepiece

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxMerges bounds the merges of a model. Gemma has 580,604.
const maxMerges = 1 << 22

// merge joins two pieces to a third.
type merge struct {
	made, split int32 // the id, and where its text is cut
	score       float32
	left, right int32 // lengths in characters
}

// JSON returns the tokenizer.json that stands for the model: the pieces with
// their ids, a merge for every pair of pieces that makes a third (in the order of
// transformers' GemmaConverter, convert_slow_tokenizer.py), and control and
// user-defined pieces as added tokens, with the flags that PaliGemma's have.
func (m *Model) JSON() ([]byte, error) {
	texts := m.vocabulary()
	merges, err := m.merges(texts)
	if err != nil {
		return nil, err
	}
	b := []byte(`{"version":"1.0","truncation":null,"padding":null,"added_tokens":[`)
	for id, p := range m.pieces {
		if p.kind == typeUnknown || p.kind == typeControl || p.kind == typeUserDefined {
			b = appendAdded(separate(b), id, p)
		}
	}
	b = append(b, `],"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},`+
		`"pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false},"post_processor":null,`+
		`"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}]},`+
		`"model":{"type":"BPE","dropout":null,"unk_token":`...)
	b = appendString(b, m.unk)
	b = append(b, `,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":true,"ignore_merges":false,"vocab":{`...)
	for id, text := range texts {
		b = appendString(separate(b), text)
		b = strconv.AppendInt(append(b, ':'), int64(id), 10)
	}
	b = append(b, `},"merges":[`...)
	for _, q := range merges {
		text := texts[q.made]
		b = appendString(append(separate(b), '['), text[:q.split])
		b = append(appendString(append(b, ','), text[q.split:]), ']')
	}
	return append(b, `]}}`...), nil
}

// vocabulary returns the text of each piece. Gemma's models have no tab, but
// runs of tabs, which only a merge of tabs can make: the tab's byte becomes the
// character.
func (m *Model) vocabulary() []string {
	texts := make([]string, len(m.pieces))
	for id, p := range m.pieces {
		texts[id] = p.text
	}
	if !slices.Contains(texts, "\t") {
		texts[slices.Index(texts, "<0x09>")] = "\t"
	}
	return texts
}

// merges returns all ways to make a piece of two, the best score first; of
// those with the same score, the one with the longest left piece, then the one
// with the longest right piece, then the piece with the lowest id.
func (m *Model) merges(texts []string) ([]merge, error) {
	known := make(map[string]bool, len(texts))
	for _, text := range texts {
		known[text] = true
	}
	var all []merge
	for id, text := range texts {
		for split := range text {
			if split == 0 || !known[text[:split]] || !known[text[split:]] {
				continue
			}
			if len(all) == maxMerges {
				return nil, fmt.Errorf("the sentencepiece model has more than %d merges", maxMerges)
			}
			all = append(all, merge{int32(id), int32(split), m.pieces[id].score,
				int32(utf8.RuneCountInString(text[:split])), int32(utf8.RuneCountInString(text[split:]))})
		}
	}
	slices.SortFunc(all, func(a, b merge) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.left, a.left), cmp.Compare(b.right, a.right), cmp.Compare(a.made, b.made))
	})
	return all, nil
}

// appendAdded appends an entry of added_tokens. SentencePiece looks for
// user-defined pieces once spaces are "▁", which is what "normalized" means.
func appendAdded(b []byte, id int, p piece) []byte {
	b = strconv.AppendInt(append(b, `{"id":`...), int64(id), 10)
	b = appendString(append(b, `,"content":`...), p.text)
	user := p.kind == typeUserDefined
	b = strconv.AppendBool(append(b, `,"single_word":false,"lstrip":false,"rstrip":false,"normalized":`...), user)
	b = strconv.AppendBool(append(b, `,"special":`...), !user)
	return append(b, '}')
}

// separate appends a comma, except at the start of a list or an object.
func separate(b []byte) []byte {
	if last := b[len(b)-1]; last == '[' || last == '{' {
		return b
	}
	return append(b, ',')
}

// appendString appends a string that is valid UTF-8 as JSON.
func appendString(b []byte, text string) []byte {
	b = append(b, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
