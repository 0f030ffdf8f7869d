package cli

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"paligemma/internal/ggml"
	"paligemma/internal/quote"
)

func (a *app) devicesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "devices",
		Short: "List what this build can run on",
		Long:  "List the devices that --device takes. With auto, the first GPU is used, else the CPU.",
		Args:  argsBetween(0, 0, ""),
		RunE:  func(*cobra.Command, []string) error { return a.runDevices() },
	}
}

func (a *app) runDevices() error {
	devices := ggml.Devices()
	if a.common.Format != formatText {
		p := a.newPrinter(true)
		for _, d := range devices {
			if err := p.object(d); err != nil {
				return err
			}
		}
		return p.close()
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tKIND\tBACKEND\tFREE\tTOTAL\tDESCRIPTION")
	for _, d := range devices {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, d.Kind, d.Backend, quote.Bytes(int64(d.MemoryFree)), quote.Bytes(int64(d.MemoryTotal)), d.Description)
	}
	return w.Flush()
}

// versions is the result of version in JSON.
type versions struct {
	Version string `json:"version"`
	GGML    string `json:"ggml"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program and of ggml",
		Args:  argsBetween(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			v := versions{version, ggml.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			p := a.newPrinter(false)
			if p.format != formatText {
				return p.object(v)
			}
			return p.write(fmt.Sprintf("paligemma %s\nggml %s, %s, %s/%s\n", v.Version, v.GGML, v.Go, v.OS, v.Arch))
		},
	}
}

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print the completion script of a shell",
		Long:      "Print what makes a shell complete paligemma's commands and flags: bash, zsh,\nfish or powershell.",
		Example:   "  source <(paligemma completion bash)",
		ValidArgs: shells,
		Args:      argsBetween(1, 1, "SHELL (bash, zsh, fish or powershell)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Out, true)
			case "zsh":
				return root.GenZshCompletion(a.Out)
			case "fish":
				return root.GenFishCompletion(a.Out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.Out)
			}
			return usageError{fmt.Errorf("no completion for %s: want %s", quote.Short(args[0]), strings.Join(shells, ", "))}
		},
	}
}

func (a *app) manCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:    "man --dir DIR",
		Short:  "Write the man pages into a folder",
		Hidden: true,
		Args:   argsBetween(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError{errors.New("--dir is missing: the folder for the man pages")}
			}
			if info, err := os.Stat(dir); err != nil {
				return fmt.Errorf("%s: %w", dir, cause(err))
			} else if !info.IsDir() {
				return fmt.Errorf("%s is not a folder", dir)
			}
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Title: "PALIGEMMA", Section: "1", Source: "paligemma " + version}, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the `FOLDER` to write to")
	return cmd
}

// helpCommand is cobra's, but for an error where a command does not exist.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
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
