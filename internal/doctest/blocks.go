// Package doctest runs the commands of the documentation: it finds the fenced
// blocks of a Markdown file, executes them in a shell and compares or rewrites
// the outputs that the file shows. CONTRIBUTING.md has the convention.
package doctest

import (
	"fmt"
	"slices"
	"strings"
)

// The languages of blocks that are executed.
const (
	Console = "console" // commands after "$ ", each followed by its output
	Shell   = "sh"      // a script
)

// Needs are the reasons that a block may give, as needs=REASON in its info
// string, for not being executed.
var Needs = []string{"build", "checkpoint", "memory", "network", "root", "scheduler"}

// Anything is the line of an output that stands for any number of lines.
const Anything = "…"

// Block is a fenced block of a language that is executed.
type Block struct {
	Line     int    // of the opening fence, from 1
	Language string // Console or Shell
	Needs    string // one of Needs, or empty
	Commands []Command
}

// Command is one command of a Console block or the whole script of a Shell
// block.
type Command struct {
	Line   int    // of its first line, from 1
	Text   string // without prompts
	Output []string
	first  int // of the lines of output, from 0
}

// Parse returns the blocks of a Markdown file that are executed.
func Parse(text string) ([]Block, error) {
	var blocks []Block
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		fence, info, ok := openFence(lines[i])
		if !ok {
			continue
		}
		end := i + 1
		for end < len(lines) && strings.TrimRight(lines[end], " ") != fence {
			end++
		}
		if end == len(lines) {
			return nil, fmt.Errorf("line %d: the block does not end", i+1)
		}
		b, err := newBlock(i, info, lines[i+1:end])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if b.Commands != nil {
			blocks = append(blocks, b)
		}
		i = end
	}
	return blocks, nil
}

// openFence splits a line that opens a block into its fence and info string.
func openFence(line string) (fence, info string, ok bool) {
	info = strings.TrimLeft(line, "`")
	fence = line[:len(line)-len(info)]
	return fence, info, len(fence) >= 3
}

// newBlock parses the block whose fence is line fence, from 0.
func newBlock(fence int, info string, lines []string) (Block, error) {
	b := Block{Line: fence + 1}
	fields := strings.Fields(info)
	if len(fields) == 0 || fields[0] != Console && fields[0] != Shell {
		return b, nil
	}
	b.Language = fields[0]
	for _, f := range fields[1:] {
		reason, ok := strings.CutPrefix(f, "needs=")
		if !ok || !slices.Contains(Needs, reason) {
			return b, fmt.Errorf("%q is not one of needs=%s", f, strings.Join(Needs, ", needs="))
		}
		b.Needs = reason
	}
	if b.Language == Shell {
		b.Commands = []Command{{Line: fence + 2, Text: strings.Join(lines, "\n")}}
		return b, nil
	}
	var err error
	b.Commands, err = consoleCommands(fence+1, lines)
	return b, err
}

// consoleCommands parses the lines of a Console block, the first of which is
// line first of the file, from 0.
func consoleCommands(first int, lines []string) ([]Command, error) {
	var commands []Command
	for i, line := range lines {
		if text, ok := strings.CutPrefix(line, "$ "); ok {
			commands = append(commands, Command{Line: first + i + 1, Text: text, first: first + i + 1})
			continue
		}
		if commands == nil {
			return nil, fmt.Errorf("%q comes before the first command", line)
		}
		c := &commands[len(commands)-1]
		if text, ok := strings.CutPrefix(line, "> "); ok && c.Output == nil {
			c.Text += "\n" + text
			c.first++
			continue
		}
		c.Output = append(c.Output, line)
	}
	if commands == nil {
		return nil, fmt.Errorf("no line begins with %q", "$ ")
	}
	return commands, nil
}

// Rewrite returns the text with outputs[i] in place of the output of the i-th
// command of all blocks; nil leaves an output as it is.
func Rewrite(text string, blocks []Block, outputs [][]string) string {
	lines := strings.Split(text, "\n")
	var commands []Command
	for _, b := range blocks {
		commands = append(commands, b.Commands...)
	}
	for i := len(commands) - 1; i >= 0; i-- {
		if c := commands[i]; outputs[i] != nil {
			lines = slices.Replace(lines, c.first, c.first+len(c.Output), outputs[i]...)
		}
	}
	return strings.Join(lines, "\n")
}
