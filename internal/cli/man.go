package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

type manOptions struct{ Dir string }

func (a *app) manCommand() *cobra.Command {
	o := &manOptions{}
	cmd := &cobra.Command{
		Use:     "man --dir DIR",
		Short:   "Write the man pages into a folder",
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
	if info, err := os.Stat(o.Dir); err != nil {
		return pathError(o.Dir, err)
	} else if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", o.Dir)
	}
	return doc.GenManTree(root, &doc.GenManHeader{Title: "PALIGEMMA", Section: "1", Source: "paligemma " + version}, o.Dir)
}
