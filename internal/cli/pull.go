package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/convert"
	"paligemma/internal/hub"
	"paligemma/internal/models"
	"paligemma/internal/nearest"
)

type pullOptions struct {
	Type      string
	Revision  string
	File      string
	Tokenizer string
	LoRA      []string
	Keep      bool
	Overwrite bool
	Threads   int
}

func (a *app) pullCommand() *cobra.Command {
	o := &pullOptions{}
	cmd := &cobra.Command{
		Use:   "pull NAME",
		Short: "Get a model from the hub by its name",
		Long: `Download a checkpoint from the Hugging Face Hub, convert it to a GGUF file in the
user's data folder, remove the download, and print the file's path. --model takes
the NAME from then on; list, show and rm do what they say.

NAME is OWNER/NAME, as on the hub. The model's full name is that with the type, as
in google/paligemma2-3b-mix-224:q8_0, and with #FILE, @REVISION and +ADAPTER where
they were asked for. A full name without adapters can be given here, too.

The weights are the repository's safetensors or, where there are none, its npz file
of big_vision. Of several files --file takes one.

The released models are gated: accept the license on the model's page once, and
log in (hf auth login), or put a token into HF_TOKEN. The variables of the official
client are respected: HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT,
HF_HUB_OFFLINE, and HTTPS_PROXY. What the hub's cache has is not downloaded again;
the cache stays as it is.

A download that was broken off, however it ended, goes on where it was when the
command is run again. Every file is held against the size and the hash that the
hub lists. A model that is there, of the revision that the hub has, stays; an
older one is replaced with --overwrite.

Types, widest first:

` + typeTable(),
		Example: `  paligemma pull google/paligemma2-3b-mix-224 --type q4_k_m
  paligemma pull google/paligemma-3b-mix-224 --revision bfloat16
  paligemma caption photo.jpg -m paligemma2-3b-mix-224`,
		Args:              argsBetween(1, 1, "NAME (OWNER/NAME, as google/paligemma2-3b-mix-224)"),
		ValidArgsFunction: cobra.FixedCompletions(models.Released(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runPull(cmd.Context(), o, cmd.Flags(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Type, "type", "q8_0", "`TYPE` of the weights, see above")
	f.StringVar(&o.Revision, "revision", "main", "`REVISION`: a branch, a tag or a commit")
	f.StringVar(&o.File, "file", "", "take the weights in `FILE` of the repository, where it has several")
	annotate(f, "file", noVariable)
	f.StringVar(&o.Tokenizer, "tokenizer", "", "use the tokenizer at `PATH`: tokenizer.json, tokenizer.model or a folder (default: the repository's)")
	f.StringArrayVar(&o.LoRA, "lora", nil, "merge the adapter of `REPOSITORY`, as OWNER/NAME[@REVISION][:SCALE]; may be repeated")
	annotate(f, "lora", noVariable)
	f.BoolVar(&o.Keep, "keep", false, "keep the download: another type of the model does not need another one")
	f.BoolVar(&o.Overwrite, "overwrite", false, "replace the model if it is there")
	f.IntVarP(&o.Threads, "threads", "t", 0, "`N` workers (default: one for each core)")
	completeTypes(cmd)
	return cmd
}

// name returns the name of the model that the command line asks for.
func (o *pullOptions) name(flags *pflag.FlagSet, text string) (models.Name, error) {
	n, err := models.ParseName(text)
	if err != nil {
		return n, usageError{err}
	}
	typ, err := convertType(o.Type)
	if err != nil {
		return n, err
	}
	switch {
	case n.Type == "" || n.Type == typ:
		n.Type = typ
	case typed(flags, "type"):
		return n, usageError{fmt.Errorf("the name asks for type %s and --type for %s", n.Type, typ)}
	}
	if err := o.narrow(&n); err != nil {
		return n, usageError{err}
	}
	for _, text := range o.LoRA {
		adapter, err := models.ParseAdapter(text)
		if err != nil {
			return n, usageError{fmt.Errorf("--lora %w", err)}
		}
		n.Adapters = append(n.Adapters, adapter)
	}
	return n, nil
}

// narrow adds to a name the revision and the file that flags ask for.
func (o *pullOptions) narrow(n *models.Name) error {
	if o.Revision != "main" {
		if n.Base.Revision != "main" && n.Base.Revision != o.Revision {
			return errors.New("the name asks for one revision and --revision for another")
		}
		n.Base.Revision = o.Revision
		if err := hub.CheckRevision(o.Revision); err != nil {
			return err
		}
	}
	if o.File == "" {
		return nil
	}
	if n.File != "" && n.File != o.File {
		return errors.New("the name asks for one file and --file for another")
	}
	n.File = o.File
	if err := models.CheckWeights(o.File); err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	return nil
}

func (a *app) runPull(ctx context.Context, o *pullOptions, flags *pflag.FlagSet, text string) error {
	if err := checkThreads(o.Threads); err != nil {
		return err
	}
	name, err := o.name(flags, text)
	if err != nil {
		return err
	}
	if o.Tokenizer != "" {
		if err := convert.CheckTokenizer(o.Tokenizer); err != nil {
			return convertError(err)
		}
	}
	home, _ := os.UserHomeDir()
	settings, err := hub.ReadSettings(os.Getenv, home)
	if err != nil {
		return err
	}
	client := hub.NewClient(settings)
	defer client.Close()
	client.Agent = "paligemma/" + version
	progress := &pullProgress{app: a}
	client.Notify = func(text string) { progress.note("%s", text) }
	pulled, err := models.Open().Pull(ctx, client, models.Request{
		Name: name, Overwrite: o.Overwrite, Keep: o.Keep, Threads: o.Threads, Tokenizer: o.Tokenizer, Note: progress.note, Bar: progress.stage,
	})
	if err != nil {
		return pullError(name, err)
	}
	if pulled.Report != nil {
		if err := a.showReport(pulled.Report); err != nil {
			return err
		}
	}
	if pulled.Downloaded != "" {
		a.note("the checkpoint is kept in %s", pulled.Downloaded)
	}
	p := a.newPrinter(layout{})
	if p.format == formatText {
		return p.write(pulled.Path + "\n")
	}
	return p.object(newStoredModel(pulled.Model))
}

// pullError makes the failure of a pull one with an exit code. Where the hub does not know
// the name, it says which released model may be meant.
func pullError(name models.Name, err error) error {
	var conversion *models.ConversionError
	if errors.As(err, &conversion) {
		return convertError(conversion.Err)
	}
	var refused *hub.RefusedError
	if !errors.As(err, &refused) || !refused.Unknown {
		return err
	}
	like := nearest.Word(name.Base.Repository, models.Released())
	if like == name.Base.Repository {
		return err
	}
	return fmt.Errorf("%w%s", err, nearest.DidYouMean(like))
}

// pullProgress shows the stages of a pull one after the other, and notes between.
type pullProgress struct {
	app *app
	mu  sync.Mutex
	bar bar
}

// stage begins a stage of so many bytes.
func (p *pullProgress) stage(total int64) (set func(int64), end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar = p.app.newBar(total, "", true)
	return p.bar.set, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.bar.close()
		p.bar = bar{}
	}
}

// note prints a line in place of the bar, which comes again.
func (p *pullProgress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar.clear()
	p.app.note(format, args...)
}
