package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var (
	roffFont = regexp.MustCompile(`\\f[BIR]`)
	roffRune = regexp.MustCompile(`\\\[u([0-9A-F]+)\]`)
	roffAny  = regexp.MustCompile(`\\(\((rs|aq|ga|dq|ha|ti)|\[u[0-9A-F]+\]|f[BIR]|[-&])`)
	roffBack = strings.NewReplacer(`\(rs`, `\`, `\-`, "-", `\(aq`, "'", `\(ga`, "`", `\(dq`, `"`, `\(ha`, "^", `\(ti`, "~", `\&`, "")
)

// printed returns the lines that roff prints of a page, without filling.
func printed(t *testing.T, page string) string {
	t.Helper()
	var lines []string
	for l := range strings.Lines(page) {
		l = strings.TrimSuffix(l, "\n")
		if strings.HasPrefix(l, ".") {
			lines = append(lines, l)
			continue
		}
		if strings.HasPrefix(l, "'") {
			t.Errorf("a line begins with a quote, as requests do: %q", l)
		}
		if strings.Contains(roffAny.ReplaceAllString(l, ""), `\`) {
			t.Errorf("a backslash is not escaped: %q", l)
		}
		l = roffRune.ReplaceAllStringFunc(roffFont.ReplaceAllString(l, ""), func(e string) string {
			r, _ := strconv.ParseInt(roffRune.FindStringSubmatch(e)[1], 16, 32)
			return string(rune(r))
		})
		lines = append(lines, roffBack.Replace(l))
	}
	return strings.Join(lines, "\n")
}

// words returns a text with one space between words.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// Nothing of a command's help is missing in its man page.
func TestManPages(t *testing.T) {
	root := (&app{}).rootCommand()
	if len(manCommands(root)) < 15 {
		t.Fatal("commands without a page")
	}
	for _, cmd := range manCommands(root) {
		t.Run(cmd.Name(), func(t *testing.T) { checkManPage(t, cmd) })
	}
}

func checkManPage(t *testing.T, cmd *cobra.Command) {
	source := manPage(cmd, "2026-01-02")
	page := printed(t, source)
	flat := words(page)
	for _, want := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO"} {
		if !strings.Contains(page, `.SH "`+want+`"`) {
			t.Errorf("no section %s", want)
		}
	}
	for paragraph := range strings.SplitSeq(cmd.Long, "\n") {
		if !strings.Contains(flat, words(paragraph)) {
			t.Errorf("missing: %q", paragraph)
		}
	}
	lines := strings.Split(page, "\n")
	for example := range strings.Lines(cmd.Example) {
		if want := strings.TrimSpace(example); want != "" && !slices.Contains(lines, want) {
			t.Errorf("missing example: %q", want)
		}
	}
	check := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		term := words("--" + f.Name + " " + value)
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		if i := slices.Index(lines, term); i < 0 || !strings.HasPrefix(lines[i+1], usage) {
			t.Errorf("missing: %q with %q", term, usage)
		}
		if hasVariable(f) && !slices.Contains(lines, envName(f.Name)) {
			t.Errorf("missing: %s", envName(f.Name))
		}
	}
	cmd.NonInheritedFlags().VisitAll(check)
	cmd.InheritedFlags().VisitAll(check)
	if bare := regexp.MustCompile(`[^\\]-|[^ -~\n]`).FindString(strings.Join(strings.Split(source, "\n")[1:], "\n")); bare != "" {
		t.Errorf("%q is not escaped", bare)
	}
}

// What roff would take as its own is printed as it is.
func TestRoff(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"backslashes", `escaped as \\, \n and \r`, `escaped as \(rs\(rs, \(rsn and \(rsr`},
		{"tokens", "<loc0001><seg000>… cat", `<loc0001><seg000>\[u2026] cat`},
		{"flags", "with --top-k (or -q) of log-probability", `with \fB\-\-top\-k\fR (or \fB\-q\fR) of log\-probability`},
		{"quotes", "'*.jpg' \"x\" `y`", "\\(aq*.jpg\\(aq \\(dqx\\(dq \\(gay\\(ga"},
		{"a leading dot", ".png is a name", `\&.png is a name`},
		{"ASCII that typographers replace", "~/x^2", `\(ti/x\(ha2`},
		{"beyond 16 bits", "🐱", `\[u1F431]`},
		{"indented lines", "Types:\n\n    .f32  a\n      f16  b\n\nEnd.", "Types:\n.PP\n.RS \"4\"\n.EX\n\\&.f32  a\n  f16  b\n.EE\n.RE\n.PP\nEnd."},
		{"indented at once", "Types:\n    f32\nEnd.", "Types:\n.RS \"4\"\n.EX\nf32\n.EE\n.RE\n.PP\nEnd."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &roff{}
			r.paragraphs(tt.text)
			if got := strings.TrimSuffix(r.b.String(), "\n"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Man pages know every exit code that there is.
func TestExitStatuses(t *testing.T) {
	for code := exitOK; code <= exitImage; code++ {
		if i := code; i >= len(exitStatuses) || exitStatuses[i].code != code {
			t.Error(fmt.Sprint("no exit status ", code))
		}
	}
}

// Every flag with a value and every argument completes as something, so that no
// shell offers files where none belong.
func TestCompletionsOfAll(t *testing.T) {
	root := (&app{}).rootCommand()
	for _, cmd := range append(root.Commands(), root) {
		if cmd.ValidArgsFunction == nil && cmd.ValidArgs == nil {
			t.Errorf("%s: arguments complete as any file", cmd.Name())
		}
		flags := cmd.Flags()
		flags.AddFlagSet(root.PersistentFlags())
		flags.VisitAll(func(f *pflag.Flag) {
			if _, ok := cmd.GetFlagCompletionFunc(f.Name); !ok && f.NoOptDefVal == "" {
				t.Errorf("%s: --%s completes as any file", cmd.Name(), f.Name)
			}
		})
	}
}

func TestArgumentNames(t *testing.T) {
	tests := []struct {
		use      string
		want     []string
		repeated bool
	}{
		{"version", nil, false},
		{"caption IMAGE...", []string{"IMAGE"}, true},
		{"detect OBJECTS IMAGE...", []string{"OBJECTS", "IMAGE"}, true},
		{"convert CHECKPOINT [OUT.gguf]", []string{"CHECKPOINT", "OUT.gguf"}, false},
		{"generate [IMAGE...] --prompt PROMPT", []string{"IMAGE"}, true},
		{"parse [TEXT] --size WxH", []string{"TEXT"}, false},
		{"x [--flag VALUE] FILE", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.use, func(t *testing.T) {
			if got, repeated := argumentNames(tt.use); !slices.Equal(got, tt.want) || repeated != tt.repeated {
				t.Errorf("got %q, %v", got, repeated)
			}
		})
	}
}
