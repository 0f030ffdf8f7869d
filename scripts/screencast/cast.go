package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Times of the screencast.
const (
	letter = 35 * time.Millisecond   // between two letters that are typed
	answer = 350 * time.Millisecond  // from the last letter to the output
	pause  = 1500 * time.Millisecond // after an output
	rest   = 4 * time.Second         // at the end, before it begins again
)

// The layout, in pixels: a terminal, and pictures to the right of it.
const (
	columns    = 80
	cell       = 7.8 // width of a letter
	lineHeight = 19
	margin     = 16
	bar        = 30 // of a window
	side       = 330
)

// line is a line of the terminal.
type line struct {
	at      time.Duration // when it appears, or its first letter is typed
	text    string
	command bool
	first   bool // of a command: with a prompt
}

// letters is the number of cells that the line takes.
func (l line) letters() int { return utf8.RuneCountInString(l.text) }

// picture is shown from a time on.
type picture struct {
	at            time.Duration
	name          string
	width, height int
	data          string // a JPEG in base64
}

// cast is what happens on the screen.
type cast struct {
	now      time.Duration
	lines    []line
	pictures []picture
}

func (c *cast) wait(d time.Duration) { c.now += d }

// typed adds a command that is typed letter by letter.
func (c *cast) typed(command string) {
	for i, text := range wrap("$ "+command, columns) {
		l := line{c.now, text, true, i == 0}
		c.lines = append(c.lines, l)
		c.now += time.Duration(l.letters()) * letter
	}
	c.wait(answer)
}

// printed adds an output that appears at once.
func (c *cast) printed(output string) {
	for text := range strings.SplitSeq(output, "\n") {
		for _, part := range wrap(expand(text), columns) {
			c.lines = append(c.lines, line{at: c.now, text: part})
		}
	}
}

// expand replaces tabs by blanks up to the next multiple of 8 cells.
func expand(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if r != '\t' {
			b.WriteRune(r)
			n++
			continue
		}
		for ok := true; ok; ok = n%8 != 0 {
			b.WriteByte(' ')
			n++
		}
	}
	return b.String()
}

// wrap breaks a text into lines of at most n letters, as a terminal does.
func wrap(text string, n int) []string {
	var lines []string
	letters := []rune(text)
	for len(letters) > n {
		lines = append(lines, string(letters[:n]))
		letters = letters[n:]
	}
	return append(lines, string(letters))
}

// svg draws the cast.
func (c *cast) svg() []byte {
	terminal := columns*cell + 2*margin
	width := terminal + margin + side
	height := bar + float64(len(c.lines))*lineHeight + 2*margin
	var b, style bytes.Buffer
	b.WriteString(`<g clip-path="url(#screen)">` + "\n")
	for i, l := range c.lines {
		c.line(&b, &style, i, l)
	}
	b.WriteString("</g>\n")
	x := terminal + margin
	for i, p := range c.pictures {
		c.picture(&b, &style, i, p, x)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="Commands of paligemma and what they print">
<style>
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #c9d1d9; white-space: pre }
.command { fill: #ffffff } .prompt { fill: #7ee787 } .name { fill: #8b949e }
.window { fill: #161b22; stroke: #6e7681 } .cover { fill: #161b22 } .cursor { fill: #c9d1d9 } .typing { opacity: 0 }
%s@media (prefers-reduced-motion: reduce) { * { animation: none !important } }
</style>
`, width+1, height+1, width+1, height+1, style.String())
	window(&out, 0, terminal, height, "paligemma")
	fmt.Fprintf(&out, `<clipPath id="screen"><rect x="1" y="%d" width="%.1f" height="%.1f"/></clipPath>`+"\n", bar, terminal-2, height-bar)
	out.Write(b.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// window draws a frame with a title.
func window(b *bytes.Buffer, x, width, height float64, title string) {
	fmt.Fprintf(b, `<rect class="window" x="%.1f" y="0.5" width="%.1f" height="%.1f" rx="8"/>`, x+0.5, width-1, height-1)
	for i, color := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="15" r="5" fill="%s"/>`, x+18+16*float64(i), color)
	}
	fmt.Fprintf(b, `<text class="name" x="%.1f" y="19">%s</text>`+"\n", x+72, escape(title))
}

// line draws line i of the terminal: an output appears; a command has a cover
// with a cursor at its edge, which moves off letter by letter.
func (c *cast) line(b, style *bytes.Buffer, i int, l line) {
	y := bar + margin + float64(i)*lineHeight
	text, n := l.text, l.letters()
	if n == 0 {
		return
	}
	c.appears(style, fmt.Sprintf("l%d", i), l.at)
	class, content := "", escape(text)
	if l.command {
		class = ` class="command"`
	}
	if l.first {
		content = `<tspan class="prompt">$</tspan>` + escape(strings.TrimPrefix(text, "$"))
	}
	fmt.Fprintf(b, `<g id="l%d"><text%s x="%d" y="%.1f" textLength="%.1f" lengthAdjust="spacingAndGlyphs" xml:space="preserve">%s</text>`,
		i, class, margin, y+13, float64(n)*cell, content)
	if l.command {
		c.types(style, fmt.Sprintf("c%d", i), l.at, n)
		fmt.Fprintf(b, `<g id="c%d" class="typing"><rect class="cover" x="%d" y="%.1f" width="%.1f" height="%d"/><rect class="cursor" x="%d" y="%.1f" width="%.1f" height="16"/></g>`,
			i, margin, y, columns*cell, lineHeight, margin, y+1, cell)
	}
	b.WriteString("</g>\n")
}

// picture draws picture i into a window at x, in place of the one before it.
func (c *cast) picture(b, style *bytes.Buffer, i int, p picture, x float64) {
	c.appears(style, fmt.Sprintf("p%d", i), p.at)
	height := side / float64(p.width) * float64(p.height)
	fmt.Fprintf(b, `<g id="p%d">`, i)
	window(b, x, side, bar+height+4, p.name)
	fmt.Fprintf(b, `<image x="%.1f" y="%d" width="%d" height="%.1f" href="data:image/jpeg;base64,%s"/></g>`+"\n", x+2, bar, side-4, height, p.data)
}

// appears hides an element until a time.
func (c *cast) appears(style *bytes.Buffer, id string, at time.Duration) {
	if at == 0 {
		return
	}
	fmt.Fprintf(style, "@keyframes %s { 0%% { opacity: 0 } %s { opacity: 0 } %s { opacity: 1 } }\n", id, c.percent(at-time.Millisecond), c.percent(at))
	c.animate(style, id)
}

// types moves a cover over n letters off from a time on, then hides it.
func (c *cast) types(style *bytes.Buffer, id string, at time.Duration, n int) {
	end := at + time.Duration(n)*letter
	fmt.Fprintf(style, "@keyframes %s { 0%% { opacity: 1 } %s { opacity: 1; transform: none; animation-timing-function: steps(%d) } %s { opacity: 1; transform: translateX(%.1fpx) } %s { opacity: 0 } }\n",
		id, c.percent(at), n, c.percent(end), float64(n)*cell, c.percent(end+time.Millisecond))
	c.animate(style, id)
}

func (c *cast) animate(style *bytes.Buffer, id string) {
	fmt.Fprintf(style, "#%s { animation: %s %.2fs infinite }\n", id, id, c.now.Seconds())
}

// percent is a time as a part of the whole.
func (c *cast) percent(at time.Duration) string {
	return fmt.Sprintf("%.3f%%", 100*float64(at)/float64(c.now))
}

func escape(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer takes everything
	return b.String()
}
