package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestLookPrompt(t *testing.T) {
	for line, want := range map[string]string{
		"caption":      "caption en",
		" caption ":    "caption en",
		"cap":          "cap en",
		"describe":     "describe en",
		"caption de":   "caption de",
		"captions":     "captions",
		"ocr":          "ocr",
		"detect cat":   "detect cat",
		"what is it? ": "what is it?",
	} {
		t.Run(line, func(t *testing.T) {
			if got := lookPrompt(line); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func TestFindLookCommand(t *testing.T) {
	for name, want := range map[string]string{
		":help": ":help", ":h": ":help", ":draw": ":draw", ":d": ":draw", ":draw!": ":draw!", ":q": ":quit", ":i": ":image",
		":": "", ":x": "", ":helpp": "", ":Draw": "",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := findLookCommand(name)
			if got.name != want || (err == nil) != (want != "") {
				t.Errorf("%q, %v, want %q", got.name, err, want)
			}
		})
	}
}

// stateIn is an environment with only XDG_STATE_HOME.
func stateIn(dir string) func(string) string {
	return func(name string) string {
		if name == "XDG_STATE_HOME" {
			return dir
		}
		return ""
	}
}

func TestHistoryPath(t *testing.T) {
	for _, c := range []struct{ name, state, home, want string }{
		{"the state folder", "/s", "/h", "/s/paligemma/history"},
		{"the default", "", "/h", "/h/.local/state/paligemma/history"},
		{"a relative one is ignored", "s", "/h", "/h/.local/state/paligemma/history"},
		{"none", "", "", ""},
		{"a relative home", "", "h", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := historyPath(func(name string) string { return map[string]string{"XDG_STATE_HOME": c.state, "HOME": c.home}[name] })
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestHistory(t *testing.T) {
	numbers := func(from, to int) (lines []string) {
		for n := from; n < to; n++ {
			lines = append(lines, strconv.Itoa(n))
		}
		return lines
	}
	long := strings.Repeat("x", maxPastBytes)
	for _, c := range []struct {
		name  string
		file  []string
		add   []string
		lines []string // afterwards
		bytes int      // of the file, at most
	}{
		{"new", nil, []string{"a", "b"}, []string{"a", "b"}, 4},
		{"kept", []string{"a"}, []string{"b"}, []string{"a", "b"}, 4},
		{"the last one again", []string{"a"}, []string{"a", "b", "a"}, []string{"a", "b", "a"}, 6},
		{"blank", nil, []string{"", "  "}, nil, 0},
		{"hostile", []string{"a\x1b[2J", "b\u009b", "c\xff", "d"}, []string{"\x1b"}, []string{"d"}, 20},
		{"many", numbers(0, maxPast), []string{"x"}, append(numbers(1, maxPast), "x"), 5000},
		{"too many", numbers(0, 3*maxPast), nil, numbers(2*maxPast, 3*maxPast), 5 * maxPast},
		{"too long", []string{long, "a"}, []string{"b"}, []string{"a", "b"}, maxPastBytes + 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "paligemma", "history")
			if c.file != nil {
				if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(strings.Join(c.file, "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			h := openHistory(stateIn(dir))
			for _, text := range c.add {
				h.add(text)
			}
			h.close()
			if !slices.Equal(h.lines, c.lines) {
				t.Errorf("%d lines, want %d", len(h.lines), len(c.lines))
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != 0o600 || info.Size() > int64(c.bytes) {
				t.Errorf("%v, %d bytes", info.Mode(), info.Size())
			}
			if again := openHistory(stateIn(dir)); !slices.Equal(again.lines, h.lines) {
				t.Errorf("%d lines when read again, want %d", len(again.lines), len(h.lines))
			} else {
				again.close()
			}
		})
	}
}

// TestNoHistory checks that a session has a history of its own where there is no place
// for a file.
func TestNoHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	null := t.TempDir()
	if err := os.Mkdir(filepath.Join(null, "paligemma"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, filepath.Join(null, "paligemma", "history")); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"no folder": "", "a file in its place": file, "/dev/null": null} {
		t.Run(name, func(t *testing.T) {
			h := openHistory(stateIn(dir))
			h.add("a")
			if h.file != nil || !slices.Equal(h.lines, []string{"a"}) {
				t.Errorf("%v, %q", h.file, h.lines)
			}
			h.close()
		})
	}
}
