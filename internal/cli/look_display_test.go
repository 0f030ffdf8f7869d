package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// screen is a terminal that understands what display writes. A wide character takes
// two cells, the second of which is empty; marks join the cell before them.
type screen struct {
	width    int
	rows     [][]string
	row, col int
}

func (s *screen) Write(p []byte) (int, error) {
	for text := string(p); text != ""; {
		var sequence string
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexFunc(text[2:], func(r rune) bool { return r < '0' || r > '9' }) + 3
			sequence, text = text[2:end], text[end:]
		default:
			_, size := utf8.DecodeRuneInString(text)
			sequence, text = text[:size], text[size:]
			s.put(sequence)
			continue
		}
		n := 1
		fmt.Sscan(sequence, &n)
		switch sequence[len(sequence)-1] {
		case 'A':
			s.row -= n
		case 'C':
			s.col += n
		case 'H':
			s.row, s.col = 0, 0
		case 'J':
			if n == 2 {
				s.rows = nil
			} else if s.row < len(s.rows) {
				s.rows = s.rows[:s.row+1]
				s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))]
			}
		}
	}
	return len(p), nil
}

func (s *screen) put(char string) {
	switch char {
	case "\r":
		s.col = 0
		return
	case "\n":
		s.row++
		return
	}
	n := uniseg.StringWidth(char)
	for len(s.rows) <= s.row {
		s.rows = append(s.rows, nil)
	}
	line := s.rows[s.row]
	if n == 0 && s.col > 0 {
		line[s.col-1] += char
		return
	}
	for len(line) < s.col+n {
		line = append(line, "")
	}
	line[s.col] = char
	s.rows[s.row] = line
	if s.col += n; s.col > s.width {
		panic("a character beyond the edge")
	}
}

// text is the rows, trailing blanks left out, and the cursor.
func (s *screen) text() string {
	var lines []string
	for _, row := range s.rows {
		lines = append(lines, strings.TrimRight(strings.Join(row, ""), " "))
	}
	return strings.TrimRight(strings.Join(lines, "/"), "/") + fmt.Sprintf(" %d,%d", s.row, s.col)
}

// TestDisplay edits lines on a terminal of a width, key by key, and looks at what it
// shows and where the cursor is.
func TestDisplay(t *testing.T) {
	const left, right, up, home, end, backspace = "\x1b[D", "\x1b[C", "\x1b[A", "\x01", "\x05", "\x7f"
	for _, c := range []struct {
		name  string
		width int
		keys  string
		want  string // rows, and the cursor's row and column
	}{
		{"letters", 20, "caption", "> caption 0,9"},
		{"wide", 20, "猫は何色", "> 猫は何色 0,10"},
		{"back over a wide one", 20, "猫は何" + left + left, "> 猫は何 0,4"},
		{"and forth", 20, "猫は何" + left + left + right, "> 猫は何 0,6"},
		{"insert", 20, "猫何" + left + "は", "> 猫は何 0,6"},
		{"delete", 20, "猫は何" + backspace, "> 猫は 0,6"},
		{"delete in the middle", 20, "猫は何" + left + backspace, "> 猫何 0,4"},
		{"words", 20, "detect 猫\x17x", "> detect x 0,10"},
		{"beginning and end", 20, "猫" + home + "x" + end + "y", "> x猫y 0,6"},
		{"mark", 20, "e\u0301a" + left, "> e\u0301a 0,3"},
		{"emoji", 20, "👩🏽x", "> 👩🏽x 0,5"},
		{"Hangul", 20, "고양이" + left, "> 고양이 0,6"},
		{"to the edge", 6, "abcd", "> abcd 1,0"},
		{"beyond the edge", 6, "abcde", "> abcd/e 1,1"},
		{"a wide one does not fit", 6, "abc猫", "> abc/猫 1,2"},
		{"and back", 6, "abc猫de" + left + left + left + left, "> abc/猫de 0,4"},
		{"insert above", 6, "abcdefgh" + home + "x", "> xabc/defgh 0,3"},
		{"delete a row", 6, "abcdef" + strings.Repeat(backspace, 4), "> ab 0,4"},
		{"a wide terminal", 1000, strings.Repeat("猫", 100) + left, "> " + strings.Repeat("猫", 100) + " 0,200"},
		{"clear", 20, "猫x\x0c" + left, "> 猫x 0,4"},
		{"clear what is above", 20, "a\rb\x0c", "> b 0,3"},
		{"a line and the next", 20, "猫\rx", "> 猫/> x 1,3"},
		{"earlier lines", 6, "猫は何だ\rx\r" + up + up + left, "> 猫は/何だ/> x/> 猫は/何だ 4,2"},
		{"back from a longer one", 6, "abcdefgh\r" + up + "\x1b[B" + "z", "> abcd/efgh/> z 2,3"},
		{"what would steer a terminal", 20, "a\u009bb", `> a\u009bb 0,10`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &screen{width: c.width}
			keys := &keyboard{keys: c.keys}
			terminal := newTerminal(keys, &display{out: s, width: c.width})
			var err error
			for err == nil {
				_, err = terminal.ReadLine()
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if got := s.text(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// keyboard gives its keys one at a time.
type keyboard struct{ keys string }

func (k *keyboard) Read(p []byte) (int, error) {
	if k.keys == "" {
		return 0, io.EOF
	}
	_, size := utf8.DecodeRuneInString(k.keys)
	if strings.HasPrefix(k.keys, "\x1b[") {
		size = 3
	}
	n := copy(p, k.keys[:size])
	k.keys = k.keys[n:]
	return n, nil
}

// TestDisplayResize makes the terminal narrower, where it makes two rows of one, and
// wider again, where it leaves them.
func TestDisplayResize(t *testing.T) {
	s := &screen{width: 10}
	d := &display{out: s, width: 10}
	for _, step := range []struct {
		width int
		rows  []string // of the narrower terminal
		key   string
		want  string
	}{
		{10, nil, "> ", "> 0,2"}, {10, nil, "abc", "> abc 0,5"},
		{4, []string{"> ab", "c"}, "d", "> ab/cd 1,2"},
		{4, nil, "ef", "> ab/cdef 2,0"},
		{10, nil, "g", "> abcdefg 0,9"},
	} {
		d.resize(step.width)
		s.width = step.width
		if step.rows != nil {
			s.rows, s.row, s.col = nil, len(step.rows)-1, len(step.rows[len(step.rows)-1])
			for _, row := range step.rows {
				s.rows = append(s.rows, strings.Split(row, ""))
			}
		}
		fmt.Fprint(d, step.key)
		if got := s.text(); got != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
	}
}

// TestDisplaySequences writes control sequences that end too early, and such as the line
// editor does not write, between two lines.
func TestDisplaySequences(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []string
		want   string
	}{
		{"no letter", []string{"> ab", "\x1b[", "\r\n"}, "> ab"},
		{"number without a letter", []string{"> ab", "\x1b[3", "\r\n"}, "> ab"},
		{"far to the left", []string{"> ab\x1b[99Dx\r\n"}, "x ab"},
		{"far to the right", []string{"> ab\x1b[99Cx\r\n"}, "> abx"},
		{"a number that overflows", []string{"> ab\x1b[99999999999999999999Dx\r\n"}, "> ax"},
		{"unknown", []string{"> ab\x1b[4m\r\n"}, "> ab"},
		{"erased", []string{"> ab\x1b[2D\x1b[K\r\n"}, ">"},
		{"UTF-8 cut short", []string{"> ab", "\xc3", "\r\n"}, "> ab\ufffd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &screen{width: 20}
			d := &display{out: s, width: 20}
			for _, text := range append(c.pieces, "> cd") {
				if n, err := fmt.Fprint(d, text); err != nil || n != len(text) {
					t.Fatalf("%q: %d bytes, %v", text, n, err)
				}
			}
			if got, want := s.text(), c.want+"/> cd 1,4"; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}
