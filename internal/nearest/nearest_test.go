package nearest

import (
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	flags := []string{"max-tokens", "max-pixels", "top-k", "top-p", "format", "json"}
	for _, c := range []struct{ name, typed, want string }{
		{"one letter less", "max-token", "max-tokens"},
		{"two letters exchanged", "fromat", "format"},
		{"the nearer of two", "max-pixel", "max-pixels"},
		{"another case", "FORMAT", "format"},
		{"a beginning", "max-pi", "max-pixels"},
		{"one letter of a short word", "top-q", "top-k"},
		{"a short word is not any other", "x", ""},
		{"nothing like it", "qwertyuiop", ""},
		{"empty", "", ""},
		{"long", strings.Repeat("max-tokens", 1000), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Word(c.typed, flags); got != c.want {
				t.Errorf("Word(%q) = %q, want %q", c.typed, got, c.want)
			}
		})
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abcd", "acbd", 1}, {"same", "same", 0}} {
		t.Run(c.a+"-"+c.b, func(t *testing.T) {
			if got := editDistance(c.a, c.b); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
