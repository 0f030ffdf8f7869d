package quote

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestShort(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", `""`},
		{"plain", "cat", `"cat"`},
		{"escapes", "a\x1b\n\u202e\xff\"", `"a\x1b\n\u202e\xff\""`},
		{"the longest", strings.Repeat("x", 98), `"` + strings.Repeat("x", 98) + `"`},
		{"one more", strings.Repeat("x", 99), `"` + strings.Repeat("x", 95) + `…"`},
		{"characters stay whole", strings.Repeat("日", 50), `"` + strings.Repeat("日", 31) + `…"`},
		{"escapes stay whole", strings.Repeat("\U000e0001", 50), `"` + strings.Repeat(`\U000e0001`, 9) + `…"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Short(c.in); got != c.want || len(got) > Max || Short([]byte(c.in)) != got {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	t.Run("what fits is a literal", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 1))
		for range 5000 {
			b := make([]byte, random.IntN(150))
			for i := range b {
				b[i] = byte(random.IntN(256))
			}
			got, whole := Short(b), strconv.Quote(string(b))
			if len(got) > Max || (len(whole) <= Max) != (got == whole) || len(whole) > Max && len(got) < Max-13 {
				t.Fatalf("%q: %s", b, got)
			}
		}
	})
	t.Run("memory", func(t *testing.T) {
		huge := strings.Repeat("\x00", 64<<20)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		Short(huge)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<10 {
			t.Errorf("%d bytes to quote 100", grown)
		}
	})
}

func TestError(t *testing.T) {
	long := errors.New(strings.Repeat("x", 1000))
	if got := Error(long); len(got.Error()) > 2*Max || !errors.Is(got, long) {
		t.Errorf("%v", got)
	}
	if Error(nil) != nil || Error(io.EOF) != io.EOF {
		t.Error("short errors change")
	}
}

func TestFew(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, ""},
		{[]string{"a"}, `"a"`},
		{[]string{"a", "b", "c"}, `"a", "b", "c"`},
		{[]string{"a", "b", "c", "d", "e"}, `"a", "b", "c" … and 2 more`},
	} {
		if got := Few(c.names, Short); got != c.want {
			t.Errorf("%q: %s, want %s", c.names, got, c.want)
		}
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"one line", "a\nb\tc\x1b[1m", `a b c\u001b[1m`},
		{"the middle goes", strings.Repeat("a", 90) + "é" + strings.Repeat("b", 90), strings.Repeat("a", 48) + "…" + strings.Repeat("b", 49)},
		{"the limit counts escapes", strings.Repeat("\u0085", 60), strings.Repeat(`\u0085`, 8) + "…" + strings.Repeat(`\u0085`, 8)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Line(c.in, 100)
			if len(got) > 100 || !utf8.ValidString(got) || c.name != "the limit counts escapes" && got != c.want {
				t.Errorf("%d bytes: %s, want %s", len(got), got, c.want)
			}
		})
	}
}

// Everything that steers is escaped, everything else stays, and JSON is the same.
func TestTerminal(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"cat\tdog\n", "cat\tdog\n"},
		{"日本 é 👨\u200d👩\u200d👧 می\u200cخواهم ️", "日本 é 👨\u200d👩\u200d👧 می\u200cخواهم ️"},
		{"\x1b]0;t\x07", `\u001b]0;t\u0007`},
		{"a\r\x00\x7f", `a\u000d\u0000\u007f`},
		{"\u009b1m\u0085", `\u009b1m\u0085`},
		{"\u202eabc\u202c\u2066\u2069\u200e\u200f\u061c", `\u202eabc\u202c\u2066\u2069\u200e\u200f\u061c`},
		{"\u2028\u2029\u200b\u2060\ufeff", `\u2028\u2029\u200b\u2060\ufeff`},
		{"pass\u00adword", `pass\u00adword`},
		{"\U000e0001\U000e0041", `\udb40\udc01\udb40\udc41`},
		{"a\xffb\xc3", "a\uFFFDb\uFFFD"},
	} {
		if got := Terminal(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		got := Terminal(string(r))
		if control := unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r); control && got == string(r) {
			t.Errorf("%U gets through", r)
		}
		if unicode.IsPrint(r) && got != string(r) {
			t.Errorf("%U is printable", r)
		}
		quoted, err := json.Marshal(string(r))
		if err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal([]byte(Terminal(string(quoted))), &back); err != nil || back != string(r) {
			t.Errorf("%U comes back as %q, %v", r, back, err)
		}
	}
}

// A writer does in parts, wherever they end, what Terminal does at once.
func TestWriter(t *testing.T) {
	const text = "a\u009b日\U000e0041\xff\xe6\x97\xc3b👨‍👩‍👧\xf0\x9f"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := NewWriter(&out)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if got, err := w.Write([]byte(rest[:n])); got != n || err != nil {
				t.Fatal(got, err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if want := Terminal(text); out.String() != want {
			t.Errorf("parts of %d: %q, want %q", size, out.String(), want)
		}
	}
}
