package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/nearest"
	"paligemma/internal/quote"
)

// shells are those that completion has a script for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print the completion script of a shell",
		Long:      "Print what makes a shell complete paligemma's commands and flags: bash, zsh,\nfish or powershell.",
		Example:   "  source <(paligemma completion bash)",
		ValidArgs: shells,
		Args:      argsBetween(1, 1, "SHELL (bash, zsh, fish or powershell)"),
		RunE:      func(cmd *cobra.Command, args []string) error { return a.runCompletion(cmd.Root(), args[0]) },
	}
}

func (a *app) runCompletion(root *cobra.Command, shell string) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(a.Out, true)
	case "zsh":
		return root.GenZshCompletion(a.Out)
	case "fish":
		return fishCompletion(root, a.Out)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(a.Out)
	}
	return usageError{fmt.Errorf("no completion for %s: want %s%s", quote.Short(shell), strings.Join(shells, ", "), nearest.DidYouMean(nearest.Word(shell, shells)))}
}

// In cobra's script for fish, unfiltered is what stands for files with certain
// extensions and for folders: all files. filtered keeps those that are wanted.
const (
	unfiltered = `        __paligemma_debug "File extension filtering or directory filtering not supported"
        # Do full file completion instead
        return 1
`
	filtered = `        # The results are extensions. With --flag=value, "--flag=" comes before each.
        set -l word (commandline -ct)
        set -l flag (string match -r -- '^-[^=]*=' "$word")
        set -l pattern '^[^\t]*/'
        if test $filefilter -eq 1
            set -l extensions (string replace -- "$flag" '' $__paligemma_comp_results | string escape --style=regex)
            set pattern '^[^\t]*(?:/|\.(?i:'(string join '|' -- $extensions)')(?=\t|$))'
        end
        # A command that does not exist completes all files.
        set -l files (complete -C "__paligemma_no_command "(string replace -- "$flag" '' "$word"))
        set --global __paligemma_comp_results "$flag"(string match -r -- $pattern $files)
        return 0
`
)

// fishCompletion writes cobra's script for fish with a filter of files.
func fishCompletion(root *cobra.Command, w io.Writer) error {
	var b bytes.Buffer
	if err := root.GenFishCompletion(&b, true); err != nil {
		return err
	}
	before, after, ok := strings.Cut(b.String(), unfiltered)
	if !ok {
		return errors.New("the script for fish has changed: nowhere to put the filter of files")
	}
	_, err := io.WriteString(w, before+filtered+after)
	return err
}
