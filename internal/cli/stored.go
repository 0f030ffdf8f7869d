package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"paligemma/internal/engine"
	"paligemma/internal/hub"
	"paligemma/internal/models"
	"paligemma/internal/nearest"
	"paligemma/internal/units"
)

// storedModel is a model of the store in JSON.
type storedModel struct {
	Name       string   `json:"name"`
	Path       string   `json:"path"`
	Type       string   `json:"type"`
	Bytes      int64    `json:"bytes"`
	Pulled     string   `json:"pulled"` // RFC 3339
	Repository string   `json:"repository"`
	Revision   string   `json:"revision"` // as it was asked for
	Commit     string   `json:"commit"`
	Source     string   `json:"source"` // the page of the repository
	Adapters   []string `json:"adapters,omitempty"`
}

func newStoredModel(m models.Model) storedModel {
	return storedModel{
		Name: m.Name, Path: m.Path, Type: m.Type, Bytes: m.Bytes, Pulled: m.Pulled.UTC().Format(time.RFC3339),
		Repository: m.Origin.Repository, Revision: m.Origin.Revision, Commit: m.Origin.Commit, Source: m.Origin.URL, Adapters: m.Origin.Adapters,
	}
}

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the models that were pulled",
		Long:  "List the models in the user's data folder, which pull put there: their names, as\n--model takes them, sizes, the days on which they were pulled, and the commits.",
		Example: `  paligemma list
  paligemma list --format json`,
		Args: argsBetween(0, 0, ""),
		RunE: func(*cobra.Command, []string) error { return a.runList() },
	}
}

func (a *app) runList() error {
	all, err := models.Open().List()
	if err != nil {
		return err
	}
	for i := range all {
		if err := all[i].ReadOrigin(); err != nil {
			a.note("%v", err)
		}
	}
	p := a.newPrinter(layout{many: true, lines: true})
	if p.format != formatText {
		for _, m := range all {
			if err := p.object(newStoredModel(m)); err != nil {
				return err
			}
		}
		return p.close()
	}
	if len(all) == 0 {
		a.note("there are no models: `paligemma pull google/paligemma2-3b-mix-224` gets one")
		return nil
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSIZE\tPULLED\tCOMMIT")
	for _, m := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.10s\n", escapePath.Replace(m.Name), units.Bytes(m.Bytes), m.Pulled.Format(time.DateOnly), escapePath.Replace(m.Origin.Commit))
	}
	return w.Flush()
}

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show a model that was pulled",
		Long: `Show where a model comes from, when it was pulled and where its file is, and
what inspect shows of the file. The owner and the type may be left out of the name,
and any part of a name will do that one model only has.`,
		Example: "  paligemma show paligemma2-3b-mix-224",
		Args:    argsBetween(1, 1, "NAME"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.runShow(args[0]) },
	}
}

// shownModel is the result of show.
type shownModel struct {
	storedModel
	Inspection *inspection `json:"inspection"`
}

func (a *app) runShow(name string) error {
	m, err := models.Open().Find(name, true)
	if err != nil {
		return unknownModel(name, err)
	}
	in, err := inspectPath(m.Path)
	if err == nil {
		defer in.close()
		err = m.ReadOrigin()
	}
	if err != nil {
		return &engine.ModelError{Err: err}
	}
	s := shownModel{newStoredModel(m), in}
	if p := a.newPrinter(layout{}); p.format != formatText {
		return p.object(s)
	}
	if err := s.write(a.Out); err != nil {
		return err
	}
	return in.write(a.Out, &inspectOptions{}, a.common.Verbose)
}

// write prints where the model comes from.
func (m storedModel) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"name", m.Name}, {"source", m.Source}, {"revision", m.Revision + " (" + m.Commit + ")"},
		{"adapters", strings.Join(m.Adapters, ", ")}, {"pulled", m.Pulled}, {"size", units.Bytes(m.Bytes)},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", row[0], escapePath.Replace(shorten(row[1])))
		}
	}
	return w.Flush()
}

func (a *app) rmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove models that were pulled",
		Long: `Remove models from the user's data folder, and print their names. The owner and
the type may be left out where one model only has the rest of the name. Nothing is
removed if one of the names is unknown. Downloads that were kept, or broken off, of
a repository of which no model is left are removed, too.`,
		Example: `  paligemma rm google/paligemma2-3b-mix-224:q8_0
  paligemma rm paligemma2-3b-mix-224`,
		Args: argsBetween(1, maxRemoved, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runRm(cmd.Context(), args) },
	}
}

// maxRemoved bounds the names of one rm.
const maxRemoved = 10_000

func (a *app) runRm(ctx context.Context, names []string) error {
	store := models.Open()
	var found []models.Model
	for _, name := range names {
		m, err := store.Find(name, false)
		if errors.Is(err, models.ErrUnknown) && hub.CheckID(name) == nil && store.HasDownload(name) {
			m, err = models.Model{Name: name}, nil
		}
		if err != nil {
			return unknownModel(name, err)
		}
		found = append(found, m)
	}
	p := a.newPrinter(layout{many: true, lines: true})
	for _, m := range found {
		if err := ctx.Err(); err != nil {
			return err
		}
		_ = m.ReadOrigin() // of a damaged file nothing is known
		if err := store.Remove(m); err != nil {
			return pathError(m.Path, err)
		}
		if p.format == formatText {
			if err := p.text("", m.Name); err != nil {
				return err
			}
		} else if err := p.object(newStoredModel(m)); err != nil {
			return err
		}
	}
	return p.close()
}

// unknownModel makes the failure to find a model one with an exit code, and says
// which may be meant and where the names are.
func unknownModel(name string, err error) error {
	if errors.Is(err, models.ErrUnknown) {
		err = fmt.Errorf("%w%s: `paligemma list` has the names", err, nearest.DidYouMean(nearestModel(name)))
	}
	return &engine.ModelError{Err: err}
}

// modelPath returns the file that a model's name or path names: a file that there is
// comes first, then a model of the store. Where there is neither, it is the text itself.
func modelPath(text string) (string, error) {
	if info, err := os.Stat(text); err == nil && !info.IsDir() || isPath(text) {
		return text, nil
	}
	m, err := models.Open().Find(text, true)
	switch {
	case errors.Is(err, models.ErrUnknown):
		return text, nil
	case err != nil:
		return "", &engine.ModelError{Err: err}
	}
	return m.Path, nil
}

// nearestModel returns the name of the model in the store that a name is most likely a
// misspelling of, in the form that resembles it; "" if there is none.
func nearestModel(name string) string {
	all, _ := models.Open().List()
	var names []string
	for _, m := range all {
		_, bare, _ := strings.Cut(m.Name, "/")
		for _, form := range []string{m.Name, bare} {
			names = append(names, form[:strings.LastIndex(form, ":")], form)
		}
	}
	return nearest.Word(name, names)
}

// isPath reports whether a text can only be meant as a path.
func isPath(text string) bool {
	return text == "" || strings.HasPrefix(text, ".") || strings.HasPrefix(text, "~") || filepath.IsAbs(text) ||
		strings.EqualFold(filepath.Ext(text), ".gguf")
}

// completeModels completes the names of the models in the store.
func completeModels(_ *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return storedNames(prefix), cobra.ShellCompDirectiveNoFileComp
}

// storedNames returns the names that begin with a prefix, with or without their owners.
func storedNames(prefix string) (names []cobra.Completion) {
	all, _ := models.Open().List()
	for _, m := range all {
		_, bare, _ := strings.Cut(m.Name, "/")
		switch {
		case strings.HasPrefix(m.Name, prefix):
			names = append(names, cobra.CompletionWithDesc(m.Name, units.Bytes(m.Bytes)))
		case strings.HasPrefix(bare, prefix):
			names = append(names, cobra.CompletionWithDesc(bare, units.Bytes(m.Bytes)))
		}
	}
	return names
}

// completeModel completes models by their names and GGUF files by their paths.
func completeModel(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := storedNames(prefix)
	if len(names) == 0 {
		return completeFiles("gguf")(cmd, args, prefix)
	}
	// Shells complete either names or files, so the files are named, too.
	directive := cobra.ShellCompDirectiveNoFileComp
	dir, base := filepath.Split(prefix)
	entries, _ := os.ReadDir(filepath.Join(".", dir))
	for _, e := range entries {
		switch name := e.Name(); {
		case !strings.HasPrefix(name, base) || strings.HasPrefix(name, "."):
		case e.IsDir():
			names = append(names, dir+name+"/")
			directive |= cobra.ShellCompDirectiveNoSpace
		case strings.EqualFold(filepath.Ext(name), ".gguf"):
			names = append(names, dir+name)
		}
	}
	return names, directive
}
