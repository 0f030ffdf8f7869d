package cli

import (
	"fmt"
	"regexp"
	"strings"
)

// roff writes a man page in the man macros of roff.
type roff struct{ b strings.Builder }

// roffEscapes are what roff would otherwise take as its own, or print as another
// character: a hyphen that cannot be searched for, quotes that cannot be pasted.
var roffEscapes = strings.NewReplacer(`\`, `\(rs`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `"`, `\(dq`, `^`, `\(ha`, `~`, `\(ti`)

// escapeRoff returns text as roff prints it, within a line.
func escapeRoff(text string) string {
	var b strings.Builder
	for _, r := range roffEscapes.Replace(text) {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return b.String()
}

func bold(text string) string   { return `\fB` + escapeRoff(text) + `\fR` }
func italic(text string) string { return `\fI` + escapeRoff(text) + `\fR` }

// macro writes a request line; its arguments are escaped already.
func (r *roff) macro(name string, args ...string) {
	r.b.WriteString("." + name)
	for _, a := range args {
		r.b.WriteString(` "` + a + `"`)
	}
	r.b.WriteByte('\n')
}

// line writes a line of text that is escaped already. One that begins with a dot
// would be a request.
func (r *roff) line(text string) {
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	r.b.WriteString(text + "\n")
}

// section begins a section.
func (r *roff) section(title string) { r.macro("SH", escapeRoff(title)) }

// item writes a term, which is escaped already, and what it means.
func (r *roff) item(term, text string) {
	r.macro("TP")
	r.line(term)
	r.line(text)
}

// literal writes lines as they are, indented.
func (r *roff) literal(lines []string) {
	r.macro("RS", "4")
	r.macro("EX")
	for _, l := range lines {
		if l = strings.TrimRight(l, " "); l == "" {
			r.b.WriteString(".sp\n")
			continue
		}
		r.line(escapeRoff(l))
	}
	r.macro("EE")
	r.macro("RE")
}

// paragraphs writes a help text: paragraphs are filled, indented lines stay as
// they are.
func (r *roff) paragraphs(text string) {
	first := true
	for block := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		var filled, fixed []string
		flush := func() {
			if len(filled) > 0 {
				if !first {
					r.macro("PP")
				}
				r.line(markFlags(strings.Join(filled, " ")))
			}
			if len(fixed) > 0 {
				if len(filled) == 0 && !first {
					r.macro("PP")
				}
				r.literal(dedent(fixed))
			}
			first, filled, fixed = false, nil, nil
		}
		for l := range strings.SplitSeq(block, "\n") {
			switch indented := strings.HasPrefix(l, "  "); {
			case indented:
				fixed = append(fixed, l)
			case l != "":
				if len(fixed) > 0 {
					flush()
				}
				filled = append(filled, l)
			}
		}
		flush()
	}
}

// dedent removes the spaces that all lines begin with.
func dedent(lines []string) []string {
	common := -1
	for _, l := range lines {
		if n := len(l) - len(strings.TrimLeft(l, " ")); l != "" && (common < 0 || n < common) {
			common = n
		}
	}
	var out []string
	for _, l := range lines {
		out = append(out, l[min(len(l), max(common, 0)):])
	}
	return out
}

// flagInText is a flag in a help text: -m, --max-tokens.
var flagInText = regexp.MustCompile(`(^|[\s(\["])(--[a-z][a-z-]*[a-z]|-[a-zA-Z0-9])\b`)

// markFlags escapes text, with its flags in bold.
func markFlags(text string) string {
	return replaceMatches(flagInText, text, func(match []string) string { return escapeRoff(match[1]) + bold(match[2]) })
}

// replaceMatches escapes text and replaces what matches, which replace is given
// with its groups.
func replaceMatches(pattern *regexp.Regexp, text string, replace func([]string) string) string {
	var b strings.Builder
	end := 0
	for _, at := range pattern.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(escapeRoff(text[end:at[0]]))
		var groups []string
		for i := 0; i < len(at); i += 2 {
			groups = append(groups, text[max(at[i], 0):max(at[i+1], 0)])
		}
		b.WriteString(replace(groups))
		end = at[1]
	}
	b.WriteString(escapeRoff(text[end:]))
	return b.String()
}
