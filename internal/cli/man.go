package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type manOptions struct{ Dir string }

func (a *app) manCommand() *cobra.Command {
	o := &manOptions{}
	cmd := &cobra.Command{
		Use:     "man --dir DIR",
		Short:   "Write the man pages into a folder",
		Long:    "Write a man page of each command into a folder, which is made if it is missing.",
		Hidden:  true,
		Example: "  paligemma man --dir ~/.local/share/man/man1",
		Args:    argsBetween(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runMan(cmd.Root(), o) },
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "", "the `FOLDER` to write to")
	return cmd
}

func runMan(root *cobra.Command, o *manOptions) error {
	if o.Dir == "" {
		return usageError{errors.New("--dir is missing: the folder for the man pages")}
	}
	if err := os.MkdirAll(o.Dir, 0o777); err != nil {
		return fmt.Errorf("--dir %s: %w", o.Dir, cause(err))
	}
	date := manDate()
	for _, cmd := range manCommands(root) {
		file := filepath.Join(o.Dir, manName(cmd)+".1")
		if err := os.WriteFile(file, []byte(manPage(cmd, date)), 0o666); err != nil {
			return fmt.Errorf("%s: %w", file, cause(err))
		}
	}
	return nil
}

// manCommands returns the commands that have a man page.
func manCommands(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			all = append(all, cmd)
		}
	}
	return all
}

// manName returns the name of a command's man page, without its section.
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manDate returns the date of the man pages: that of the sources where it is known,
// so that equal sources give equal pages.
func manDate() string {
	const layout = "2006-01-02"
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC().Format(layout)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t.UTC().Format(layout)
			}
		}
	}
	return time.Now().UTC().Format(layout)
}
