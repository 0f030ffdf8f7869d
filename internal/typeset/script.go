package typeset

import (
	"slices"
	"unicode"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/language"
)

// noFace is for splitting text by script only.
type noFace struct{}

// ResolveFace returns a nil face: which face a text gets is decided later.
func (noFace) ResolveFace(rune) *font.Face { return nil }

// scriptOf returns the script of a text's first letter.
func scriptOf(text []rune) language.Script {
	for _, r := range text {
		if s := language.LookupScript(r); s.Strong() {
			return s
		}
	}
	return language.Common
}

// isEmoji reports whether a cluster is meant to be seen as a picture.
func isEmoji(cluster []rune) bool {
	return slices.ContainsFunc(cluster, func(r rune) bool {
		return r == 0xfe0f || r == 0x20e3 || 0x1f000 <= r && r < 0x20000
	})
}

// regionOf returns where the forms of a text's Chinese characters come from, "" if
// there are none.
func regionOf(text []rune) string {
	switch in := func(tables ...*unicode.RangeTable) bool {
		return slices.ContainsFunc(text, func(r rune) bool { return unicode.In(r, tables...) })
	}; {
	case in(unicode.Hiragana, unicode.Katakana):
		return "jp"
	case in(unicode.Hangul):
		return "kr"
	case in(unicode.Bopomofo):
		return "tw"
	case in(unicode.Han):
		return "cn"
	}
	return ""
}
