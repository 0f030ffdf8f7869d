package task

import (
	"slices"
	"strings"
	"testing"
)

func TestRepeats(t *testing.T) {
	const a, b = "<loc0001> <loc0002> <loc0003> <loc0004>", "<loc0001> <loc0002> <loc0003> <loc0005>"
	codes := strings.TrimSpace(strings.Repeat("<seg007> ", 16))
	for _, c := range []struct {
		name   string
		pieces string // with blanks between them; _ is U+2581
		keep   int    // -1: nothing repeats
	}{
		{"the same object", a + " _dog _; _ " + a + " _dog _;", 5},
		{"seen at the next box, too", a + " _dog " + a + " _dog <loc0009>", 5},
		{"seen at the end, too", a + " _dog _; " + a + " _dog <eos>", 5},
		{"not before it is whole", a + " _dog _; " + a + " _dog", -1},
		{"another label", a + " _dog _; " + a + " _cat _;", -1},
		{"a longer label", a + " _dog _; " + a + " _dog house _;", -1},
		{"another box", a + " _dog _; " + b + " _dog _;", -1},
		{"not the one just before", a + " _dog _; " + b + " _dog _; " + b + " _cat _; " + a + " _dog _;", 17},
		{"without labels", a + " " + b + " " + a + " <loc0001>", 8},
		{"one location again and again", strings.Repeat("<loc0421> ", 9), 4},
		{"blanks do not count", a + " _ dog _; " + a + " _dog _ _;", 6},
		{"blanks between locations", "<loc0001> _ <loc0002> <loc0003> <loc0004> ; " + a + " ;", 5},
		{"a separator within a token", a + " _dog; _ " + a + " _dog;", 5},
		{"masks", a + " " + codes + " _dog _; " + a + " " + codes + " _dog _;", 21},
		{"another mask", a + " " + codes + " _dog _; " + a + " " + strings.Replace(codes, "7", "8", 1) + " _dog _;", -1},
		{"text before", "_no _, " + a + " _dog ; " + a + " _dog ;", 7},
		{"text that repeats", "_dog ; _dog ; _dog ; _dog <eos>", -1},
		{"separators that repeat", a + " ; ; ; ; <eos>", -1},
		{"broken groups", "<loc0001> <loc0002> _dog ; <loc0001> <loc0002> _dog ; <eos>", -1},
		{"a broken group first", "<loc0001> _dog " + a + " ; _ ; " + a + " ;", 6},
		{"bytes of a character", a + " <0xC3> <0xA9> ; " + a + " <0xC3> <0xA9> ;", 6},
		{"locations in a word", "x<loc0001> x<loc0001> x<loc0001> x<loc0001> ; " + a + " ; " + a, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Repeats
			keep := -1
			pieces := strings.Fields(strings.ReplaceAll(c.pieces, "_", "▁"))
			for i, piece := range pieces {
				k, repeated := r.Push(piece)
				if repeated {
					keep = k
					if i < len(pieces)-1 {
						t.Errorf("seen after %d of %d tokens", i+1, len(pieces))
					}
					break
				}
			}
			if keep != c.keep {
				t.Errorf("keep %d, want %d", keep, c.keep)
			}
			if keep < 0 {
				return
			}
			// What is kept holds every object once, as Parse reads it.
			kept := Parse(strings.ReplaceAll(strings.Join(pieces[:keep], ""), "▁", " "), 10, 10).Objects
			all := Parse(strings.ReplaceAll(strings.Join(pieces, ""), "▁", " "), 10, 10).Objects
			for i, o := range kept {
				if slices.ContainsFunc(kept[:i], func(p Object) bool { return p.Label == o.Label && p.Box == o.Box && slices.Equal(p.Codes, o.Codes) }) {
					t.Errorf("%q is kept twice", o.Label)
				}
			}
			if len(kept) != len(all)-1 {
				t.Errorf("%d objects of %d are kept", len(kept), len(all))
			}
		})
	}
}
