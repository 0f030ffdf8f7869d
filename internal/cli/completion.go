package cli

import (
	"fmt"
	"paligemma/internal/quote"
	"strings"

	"github.com/spf13/cobra"
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
		return root.GenFishCompletion(a.Out, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(a.Out)
	}
	return usageError{fmt.Errorf("no completion for %s: want %s%s", quote.Short(shell), strings.Join(shells, ", "), didYouMean(nearest(shell, shells)))}
}
