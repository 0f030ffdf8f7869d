// Package vocabulary makes up tokenizer.json files of the form that released
// PaliGemmas have, without anything of theirs: what is measured and tested on
// one is what people get.
package vocabulary

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"
)

// Locations and segments of a PaliGemma, which with <image> end its vocabulary.
const (
	locations = 1024
	segments  = 128
)

// least is the smallest number of ids that MakeUp takes.
const least = 2048

// maker collects the pieces of a vocabulary.
type maker struct {
	random *rand.Rand
	room   int // ids before those of the locations
	pieces []string
	ids    map[string]int
	added  []addedToken
	chars  map[rune]bool // in the vocabulary or left out
}

type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// MakeUp returns a tokenizer.json of that many ids, least or more: 257,153 in a
// released PaliGemma. The same number gives the same bytes. Its pieces are parts
// of words, real ones and made-up ones. As in the released files every way to
// put a piece together from two others is a merge, and "\t" stands where <0x09>
// should be.
func MakeUp(ids int) []byte {
	m := &maker{
		random: rand.New(rand.NewPCG(3, 4)), room: max(ids, least) - locations - segments - 1,
		ids: map[string]int{}, chars: map[rune]bool{},
	}
	m.addFixed()
	m.chooseCharacters()
	m.addParts()
	merges := m.merges()
	m.addPaliGemma()
	return m.write(merges)
}

// add gives a piece the next id, unless it has one or there is no room.
func (m *maker) add(piece string) {
	if _, ok := m.ids[piece]; ok || len(m.pieces) >= m.room {
		return
	}
	m.ids[piece] = len(m.pieces)
	m.pieces = append(m.pieces, piece)
}

// addToken adds a piece that is also an added token.
func (m *maker) addToken(special bool, piece string) {
	m.add(piece)
	m.added = append(m.added, addedToken{ID: m.ids[piece], Content: piece, Special: special, Normalized: !special})
}

// addFixed adds what every Gemma begins with.
func (m *maker) addFixed() {
	for _, s := range []string{"<pad>", "<eos>", "<bos>", "<unk>"} {
		m.addToken(true, s)
	}
	for _, s := range []string{"<mask>", "<2mass>", "[@BOS@]"} {
		m.addToken(false, s)
	}
	for i := range 99 {
		m.addToken(false, fmt.Sprintf("<unused%d>", i))
	}
	m.addToken(false, "<start_of_turn>")
	m.addToken(false, "<end_of_turn>")
	for i := 1; i < 32; i++ {
		m.addToken(false, strings.Repeat("\n", i))
	}
	for i := 2; i < 32; i++ {
		m.addToken(false, strings.Repeat("▁", i))
	}
	for _, s := range strings.Fields("table tr td th h1 h2 h3 b i u p code pre ul li") {
		m.addToken(false, "<"+s+">")
		m.addToken(false, "</"+s+">")
	}
	for b := range 256 {
		if b == '\t' {
			m.add("\t")
		} else {
			m.add(fmt.Sprintf("<0x%02X>", b))
		}
	}
	for i := 2; i < 16; i++ {
		m.add(strings.Repeat("\t", i))
	}
}

// chooseCharacters takes those of the words, some left out.
func (m *maker) chooseCharacters() {
	m.chars['▁'] = true
	for c := rune(33); c < 0x17f; c++ {
		m.chars[c] = c > 160 || c < 127
	}
	for _, w := range Words {
		for _, c := range w {
			m.chars[c] = m.chars[c] || m.random.IntN(20) > 0
		}
	}
}

// addParts adds parts of words, the short ones first, then those of words that
// nobody has, with most of their parts, as a real vocabulary has those of the
// words that it was made from, and the characters at the end.
func (m *maker) addParts() {
	pool := m.parts()
	for _, p := range pool {
		m.add(p)
	}
	count := 0
	for _, ok := range m.chars {
		if ok {
			count++
		}
	}
	for r := m.random; len(m.pieces) < m.room-count; {
		w := []rune(pool[r.IntN(len(pool))] + strings.TrimLeft(pool[r.IntN(len(pool))], "▁"))
		for length := 2; length <= min(len(w), 8); length++ {
			for i := range len(w) - length + 1 {
				if r.IntN(4) > 0 && len(m.pieces) < m.room-count {
					m.add(string(w[i : i+length]))
				}
			}
		}
	}
	for c := rune(0); c <= utf8.MaxRune; c++ {
		if m.chars[c] {
			m.add(string(c))
		}
	}
}

// parts are two thirds of the parts of words whose characters are all there.
func (m *maker) parts() []string {
	found := map[string]bool{}
	for _, w := range Words {
		w := []rune("▁" + w)
		for i := range w {
			for j := i + 2; j <= min(len(w), i+9); j++ {
				if !slices.ContainsFunc(w[i:j], func(c rune) bool { return !m.chars[c] }) && m.random.IntN(3) > 0 {
					found[string(w[i:j])] = true
				}
			}
		}
	}
	var pool []string
	for p := range found {
		pool = append(pool, p)
	}
	slices.SortFunc(pool, func(a, b string) int {
		return cmp.Or(cmp.Compare(utf8.RuneCountInString(a), utf8.RuneCountInString(b)), strings.Compare(a, b))
	})
	return pool
}

// merges are all ways to put a piece together, in the order of the pieces.
func (m *maker) merges() []string {
	var all []string
	for _, p := range m.pieces {
		if strings.HasPrefix(p, "<") || strings.HasPrefix(p, "[") {
			continue
		}
		var ways [][2]string
		for i := range p {
			_, ok1 := m.ids[p[:i]]
			_, ok2 := m.ids[p[i:]]
			if i > 0 && ok1 && ok2 {
				ways = append(ways, [2]string{p[:i], p[i:]})
			}
		}
		slices.SortFunc(ways, func(a, b [2]string) int {
			return cmp.Or(cmp.Compare(m.ids[a[0]], m.ids[b[0]]), cmp.Compare(m.ids[a[1]], m.ids[b[1]]))
		})
		for _, way := range ways {
			all = append(all, way[0]+" "+way[1])
		}
	}
	return all
}

// addPaliGemma adds what a PaliGemma has after Gemma's pieces. <image> is an
// added token only.
func (m *maker) addPaliGemma() {
	m.room += locations + segments
	for i := range locations {
		m.addToken(false, fmt.Sprintf("<loc%04d>", i))
	}
	for i := range segments {
		m.addToken(false, fmt.Sprintf("<seg%03d>", i))
	}
	m.added = append(m.added, addedToken{ID: len(m.pieces), Content: "<image>", Special: true})
}

// write encodes the file.
func (m *maker) write(merges []string) []byte {
	type object = map[string]any
	space := object{"String": " "}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	// Strings and numbers in memory cannot fail.
	_ = enc.Encode(object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": m.added,
		"normalizer":     object{"type": "Replace", "pattern": space, "content": "▁"},
		"pre_tokenizer":  object{"type": "Split", "pattern": space, "behavior": "MergedWithPrevious", "invert": false},
		"post_processor": nil,
		"decoder": object{"type": "Sequence", "decoders": []object{
			{"type": "Replace", "pattern": object{"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
		}},
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": "<unk>", "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": true, "byte_fallback": true, "vocab": m.ids, "merges": merges,
		},
	})
	return out.Bytes()
}
