package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"paligemma/internal/ggml"
)

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
		Use:     "version",
		Short:   "Print the version of this program and of ggml",
		Example: "  paligemma version --json",
		Args:    argsBetween(0, 0, ""),
		RunE:    func(*cobra.Command, []string) error { return a.runVersion() },
	}
}

func (a *app) runVersion() error {
	v := versions{version, ggml.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
	p := a.newPrinter(layout{})
	if p.format != formatText {
		return p.object(v)
	}
	return p.write(fmt.Sprintf("paligemma %s\nggml %s, %s, %s/%s\n", v.Version, v.GGML, v.Go, v.OS, v.Arch))
}
