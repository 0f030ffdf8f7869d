package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"paligemma/internal/ggml"
	"paligemma/internal/quote"
)

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "paligemma COMMAND",
		Short: "Run PaliGemma vision-language models",
		Long: `paligemma captions pictures, answers questions about them, reads their text and
finds objects in them, with PaliGemma and PaliGemma 2 models in GGUF files.

    paligemma pull google/paligemma2-3b-mix-224
    paligemma caption photo.jpg -m paligemma2-3b-mix-224

Every flag can be given as an environment variable: --max-tokens is
PALIGEMMA_MAX_TOKENS. A flag on the command line wins, also over the variables of
flags that it excludes.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some of several images or
lines failed, 4 model missing, corrupt, not a PaliGemma or changed while in
use, 5 image missing, unreadable or over a limit, 128 + N ended by signal N
(130 interrupted, 143 terminated).`,
		Version:                    version,
		SilenceErrors:              true,
		SilenceUsage:               true,
		DisableAutoGenTag:          true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		// With Args and RunE set, an unknown command is our error, not cobra's.
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("paligemma {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) }
	a.common.flags(root.PersistentFlags())
	addGroup(root, "look", "Look at pictures:",
		a.captionCommand(), a.vqaCommand(), a.ocrCommand(), a.detectCommand(), a.segmentCommand(),
		a.generateCommand(), a.lookCommand(), a.scoreCommand())
	addGroup(root, "models", "Models:",
		a.pullCommand(), a.listCommand(), a.showCommand(), a.rmCommand(),
		a.convertCommand(), a.quantizeCommand(), a.inspectCommand(), a.benchCommand())
	addGroup(root, "servers", "Serve:", a.serveCommand(), a.healthCommand())
	addGroup(root, toolsGroup, "Tools:",
		a.batchCommand(), a.parseCommand(), a.forwardCommand(), a.devicesCommand(), a.versionCommand(), a.completionCommand(), a.manCommand())
	help := helpCommand()
	root.SetHelpCommand(help)
	a.setHelp(root)
	for _, cmd := range append(root.Commands(), root, help) {
		completeCommand(cmd)
	}
	return root
}

// prepare applies the environment and the flags that all commands share.
func (a *app) prepare(cmd *cobra.Command) error {
	if isCompletion([]string{cmd.Name()}) {
		return nil
	}
	if err := applyEnv(cmd.Flags(), os.LookupEnv); err != nil {
		return err
	}
	if err := limitKernels(os.LookupEnv); err != nil {
		return err
	}
	ggml.Verbose(a.common.Verbose)
	a.noteVariables(cmd.Root(), os.Environ())
	if err := a.common.check(cmd.Flags()); err != nil {
		return err
	}
	return a.checkBoxFormat(cmd)
}

// argsBetween allows low to high arguments, and says what is missing.
func argsBetween(low, high int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usageError{fmt.Errorf("%s is missing", what)}
		case len(args) > high:
			return usageError{fmt.Errorf("unexpected argument %s", quote.Short(args[high]))}
		}
		return nil
	}
}
