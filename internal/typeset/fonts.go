// Package typeset sets one line of text in any script and draws it. Latin, Greek
// and Cyrillic are set in Go Regular, which is embedded, so they look the same
// everywhere; every other script in a font of the system, which is looked for when
// a text first needs one.
package typeset

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"slices"
	"sync"
	"unicode"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/fontscan"
	"github.com/go-text/typesetting/shaping"
	"golang.org/x/image/font/gofont/goregular"
)

// Fonts are the fonts that text is set in. Any goroutine may use them.
type Fonts struct {
	mu      sync.Mutex
	folders func() []string // of the system's fonts; nil: none
	regular *typeface       // Go Regular
	system  []*typeface     // in the order of preference, once scanned
	scanned bool
	shaper  shaping.HarfbuzzShaper
}

// New returns Go Regular and the fonts in these folders and below. They are looked
// for when a text needs them.
func New(folders ...string) (*Fonts, error) {
	return newFonts(func() []string { return folders })
}

// System returns Go Regular and the fonts of the system, for all callers the same.
var System = sync.OnceValues(func() (*Fonts, error) {
	return newFonts(func() []string {
		folders, err := fontscan.DefaultFontDirectories(log.New(io.Discard, "", 0))
		if err != nil { // there are none
			return nil
		}
		return folders
	})
})

func newFonts(folders func() []string) (*Fonts, error) {
	face, err := font.ParseTTF(bytes.NewReader(goregular.TTF))
	if err != nil {
		return nil, fmt.Errorf("label font: %w", err)
	}
	return &Fonts{folders: folders, regular: &typeface{cmap: face.Cmap, face: face}}, nil
}

// cluster is what a reader sees as one character, and what must be in one font: a
// letter with its marks, an emoji of several parts.
type cluster struct {
	text       []rune
	start, end int // in text
	emoji      bool
}

// choose returns the first typeface that has all of a cluster: Go Regular, then the
// typeface of the text before it, then the system's. Emoji are looked for in color
// fonts first. It returns nil if no font has it.
func (f *Fonts) choose(c cluster, before *typeface, region string) *typeface {
	if blank(c.text[c.start:c.end]) && before != nil && !before.color { // the blanks of emoji fonts are wide
		return before
	}
	if !c.emoji && f.covers(f.regular, c) {
		return f.regular
	}
	if before != nil && before != f.regular && before.color == c.emoji && f.covers(before, c) {
		return before
	}
	if !f.scanned {
		f.system, f.scanned = scan(f.folders()), true
	}
	return f.search(c, region)
}

// search returns the first typeface of the system that has all of a cluster: of those
// in color for emoji and of a text's region first, then of all.
func (f *Fonts) search(c cluster, region string) *typeface {
	var rest []*typeface
	if c.emoji {
		rest = append(rest, f.regular)
	}
	for _, t := range f.system {
		elsewhere := region != "" && t.region != "" && t.region != region
		if t.color != c.emoji || elsewhere {
			rest = append(rest, t)
		} else if f.covers(t, c) {
			return t
		}
	}
	for _, t := range rest {
		if f.covers(t, c) {
			return t
		}
	}
	return nil
}

// covers reports whether a typeface has a glyph for all of a cluster, after marks
// were combined and parts were joined.
func (f *Fonts) covers(t *typeface, c cluster) bool {
	if t.broken || !t.has(c.text[c.start]) {
		return false
	}
	whole := true
	for _, r := range c.text[c.start:c.end] {
		whole = whole && (ignorable(r) || t.has(r))
	}
	if !t.load() {
		return false
	}
	if whole && !c.emoji {
		return true
	}
	// The font may have the cluster in another form, or its parts only.
	glyphs, ok := f.shape(run{text: c.text, start: c.start, end: c.end, script: scriptOf(c.text[c.start:c.end]), face: t})
	return ok && !slices.ContainsFunc(glyphs, func(g shaping.Glyph) bool { return g.GlyphID == 0 }) &&
		(!c.emoji || t.color || len(glyphs) == 1)
}

// blank reports whether text has nothing to draw.
func blank(text []rune) bool {
	return !slices.ContainsFunc(text, func(r rune) bool { return !unicode.IsSpace(r) && !ignorable(r) })
}

// ignorable reports whether r has no glyph of its own: joiners, variation selectors
// and the tags of flags.
func ignorable(r rune) bool {
	return r == 0x200c || r == 0x200d || 0xfe00 <= r && r <= 0xfe0f || 0xe0020 <= r && r <= 0xe01ef
}

// guarded runs what and reports whether it returned. Parsing and shaping with a font
// of the system is another module's code on a file of anyone's: a fault there costs
// that font, and nothing else.
func guarded(what func()) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	what()
	return true
}
