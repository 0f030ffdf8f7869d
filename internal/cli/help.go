package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// toolsGroup is the group of commands that need neither pictures nor models.
const toolsGroup = "tools"

// maxHelpWidth bounds the lines of help on wide terminals, in columns.
const maxHelpWidth = 100

// addGroup adds commands that help lists together.
func addGroup(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, cmd := range commands {
		cmd.GroupID = id
	}
	root.AddCommand(commands...)
}

// setHelp makes help fit the terminal, and what it says of this program's commands.
func (a *app) setHelp(root *cobra.Command) {
	root.SetHelpCommandGroupID(toolsGroup)
	width := min(a.Width, maxHelpWidth)
	root.SetUsageTemplate(strings.NewReplacer(
		".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", width),
		"{{if .HasAvailableSubCommands}}\n  {{.CommandPath}} [command]{{end}}", "",
		`Use "{{.CommandPath}} [command] --help" for more information about a command.`, "`{{.CommandPath}} help COMMAND` says more about a command.",
	).Replace(root.UsageTemplate()))
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		text := cmd.Long
		if text == "" {
			text = cmd.Short
		}
		cmd.Print(wrapLines(strings.TrimSpace(text), width) + "\n\n" + cmd.UsageString())
	})
}

// wrapLines breaks the lines of a text that are longer than width between words; what
// follows has their indentation. A width of 0 is any.
func wrapLines(text string, width int) string {
	if width == 0 {
		return text
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if utf8.RuneCountInString(line) <= width {
			lines = append(lines, line)
			continue
		}
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		part := indent
		for word := range strings.FieldsSeq(line) {
			switch {
			case part == indent:
				part += word
			case utf8.RuneCountInString(part)+1+utf8.RuneCountInString(word) > width:
				lines = append(lines, part)
				part = indent + word
			default:
				part += " " + word
			}
		}
		lines = append(lines, part)
	}
	return strings.Join(lines, "\n")
}

// helpCommand returns cobra's help command, which also fails where a command does
// not exist.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Help about a command",
		Example: "  paligemma help detect",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || found == nil || len(rest) > 0 {
				return unknownCommand(cmd, strings.Join(args, " "))
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}
