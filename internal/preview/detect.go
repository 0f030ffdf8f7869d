package preview

import (
	"strconv"
	"strings"
)

// Protocol is a way to show pictures in a terminal.
type Protocol int

// The protocols.
const (
	None Protocol = iota
	Kitty
	ITerm2
	Sixel
)

// String returns the protocol's name.
func (p Protocol) String() string {
	return [...]string{"none", "kitty", "iTerm2", "sixel"}[p]
}

// programs are values of TERM_PROGRAM.
var programs = map[string]Protocol{
	"iterm.app":      ITerm2,
	"wezterm":        ITerm2, // its kitty protocol is off by default
	"mintty":         ITerm2,
	"rio":            ITerm2,
	"ghostty":        Kitty,
	"kitty":          Kitty,
	"warpterminal":   Kitty,
	"apple_terminal": None,
	"vscode":         None, // has to be switched on there, and does not say so
}

// terms are beginnings of TERM.
var terms = []struct {
	name     string
	protocol Protocol
}{
	{"xterm-kitty", Kitty}, {"xterm-ghostty", Kitty}, {"wezterm", ITerm2}, {"foot", Sixel}, {"mlterm", Sixel}, {"yaft", Sixel}, {"contour", Sixel},
	{"dumb", None}, {"linux", None},
}

// konsoleKitty is the first version of Konsole with kitty's protocol, 22.04.
const konsoleKitty = 220400

// Detect returns the protocol of the terminal that an environment describes. Within
// tmux, screen and Zellij it is None: they pass pictures on only where they are
// configured to, and the environment is that of the terminal in which they were started,
// which need not be the one in front of the reader.
func Detect(getenv func(string) string) Protocol {
	terminal := strings.ToLower(getenv("TERM"))
	for _, name := range []string{"TMUX", "STY", "ZELLIJ"} {
		if getenv(name) != "" {
			return None
		}
	}
	if strings.HasPrefix(terminal, "tmux") || strings.HasPrefix(terminal, "screen") {
		return None
	}
	for _, t := range terms {
		if strings.HasPrefix(terminal, t.name) {
			return t.protocol
		}
	}
	if p, ok := programs[strings.ToLower(getenv("TERM_PROGRAM"))]; ok {
		return p
	}
	if version, err := strconv.Atoi(getenv("KONSOLE_VERSION")); err == nil {
		if version >= konsoleKitty {
			return Kitty
		}
		return None
	}
	switch {
	case getenv("VTE_VERSION") != "": // GNOME's and those like it, perhaps started from another
		return None
	case strings.EqualFold(getenv("LC_TERMINAL"), "iTerm2"), getenv("WEZTERM_PANE") != "":
		return ITerm2
	case getenv("KITTY_WINDOW_ID") != "", getenv("GHOSTTY_RESOURCES_DIR") != "":
		return Kitty
	case getenv("MLTERM") != "":
		return Sixel
	}
	return None
}
