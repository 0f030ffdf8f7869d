package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/ggml"
	"paligemma/internal/quote"
)

// Values of --format and --progress.
const (
	formatText  = "text"
	formatJSON  = "json"
	formatJSONL = "jsonl"

	progressAuto   = "auto"
	progressNever  = "never"
	progressAlways = "always"
)

// enums are the flags that take one of a few words.
var enums = map[string][]string{
	"format":   {formatText, formatJSON, formatJSONL},
	"progress": {progressAuto, progressNever, progressAlways},
}

// commonOptions are the flags of every command.
type commonOptions struct {
	Format   string
	Progress string
	Quiet    bool
	Verbose  bool
	Timings  bool
}

func (o *commonOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.Format, "format", formatText, "`FORMAT` of the results: text, json or jsonl")
	f.StringVar(&o.Progress, "progress", progressAuto, "`WHEN` to show progress: auto (on a terminal), never or always")
	f.BoolVarP(&o.Quiet, "quiet", "q", false, "no notes and no progress")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "say more on stderr")
	f.BoolVar(&o.Timings, "timings", false, "print timings on stderr")
}

func (o *commonOptions) check() error {
	for flag, value := range map[string]string{"format": o.Format, "progress": o.Progress} {
		if err := checkWord(flag, value, enums[flag]); err != nil {
			return err
		}
	}
	return nil
}

func checkWord(flag, value string, words []string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return usageError{fmt.Errorf("--%s %s: want %s", flag, quote.Short(value), strings.Join(words, ", "))}
}

// modelOptions are the flags of commands that run a model.
type modelOptions struct {
	Model   string
	Device  string
	Threads int
	NoMmap  bool
	Force   bool
	Special bool

	parallel int // sequences decoded together; 0: one
}

func (o *modelOptions) flags(f *pflag.FlagSet) {
	f.StringVarP(&o.Model, "model", "m", "", "GGUF `FILE` of the model, as convert writes it (default: a small built-in one)")
	f.StringVar(&o.Device, "device", "auto", "`NAME` of what to compute on (see paligemma devices)")
	f.IntVarP(&o.Threads, "threads", "t", 0, "`N` CPU threads (default: the physical cores available)")
	f.BoolVar(&o.NoMmap, "no-mmap", false, "read the model into memory instead of mapping the file")
	f.BoolVar(&o.Force, "force", false, "try a model that seems too large for the memory there is")
	f.BoolVar(&o.Special, "special", false, "special tokens typed in a prompt (<image>, <bos>) count as such")
}

func (o *modelOptions) check() error {
	if err := checkThreads(o.Threads); err != nil {
		return err
	}
	if o.Device == "" || o.Device == "auto" {
		return nil
	}
	names := []string{"auto"}
	for _, d := range ggml.Devices() {
		if strings.EqualFold(d.Name, o.Device) {
			return nil
		}
		names = append(names, d.Name)
	}
	return usageError{fmt.Errorf("--device %s: this build has %s", quote.Short(o.Device), strings.Join(names, ", "))}
}

func checkThreads(n int) error {
	if n < 0 || n > ggml.MaxThreads() {
		return usageError{fmt.Errorf("--threads %d: want 1 to %d", n, ggml.MaxThreads())}
	}
	return nil
}

// imageOptions are the flags of commands that take images.
type imageOptions struct {
	limitOptions
	FilesFrom string
	Null      bool
	Recursive bool
}

func (o *imageOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.FilesFrom, "files-from", "", "take the names of more images from `LIST`, one a line; - is stdin")
	f.BoolVarP(&o.Null, "null", "0", false, "names in --files-from end with a zero byte")
	f.BoolVarP(&o.Recursive, "recursive", "r", false, "search the folders in folders, too")
	o.limitOptions.flags(f)
}

func (o *imageOptions) check() error {
	if o.Null && o.FilesFrom == "" {
		return usageError{errors.New("--null (-0) needs --files-from")}
	}
	return nil
}

// envName is the environment variable that stands for a flag.
func envName(flag string) string {
	return "PALIGEMMA_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applyEnv sets flags that are not on the command line from the environment.
// An empty variable is as good as none.
func applyEnv(f *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var first error
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || flag.Name == "help" || flag.Name == "version" {
			return
		}
		value, ok := lookup(envName(flag.Name))
		if !ok || value == "" {
			return
		}
		if err := f.Set(flag.Name, value); err != nil && first == nil {
			first = usageError{fmt.Errorf("%s=%s: %w", envName(flag.Name), quote.Short(value), valueError(err))}
		}
		if flag.Annotations == nil {
			flag.Annotations = map[string][]string{}
		}
		flag.Annotations[fromEnv] = nil
	})
	return first
}

// valueError is what is wrong with a flag's value, without the value.
func valueError(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	var number *strconv.NumError
	if errors.As(err, &number) {
		err = number.Err
	}
	return quote.Error(err)
}

// fromEnv marks a flag whose value comes from the environment.
const fromEnv = "paligemma_from_env"

// typed tells whether a flag is on the command line. One in the environment is
// for every command that has it, and may mean nothing to this one.
func typed(f *pflag.FlagSet, name string) bool {
	flag := f.Lookup(name)
	_, env := flag.Annotations[fromEnv]
	return flag.Changed && !env
}

// completeEnums lets shells complete the words that flags take.
func completeEnums(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { completeFlag(cmd, f.Name) })
	cmd.PersistentFlags().VisitAll(func(f *pflag.Flag) { completeFlag(cmd, f.Name) })
}

func completeFlag(cmd *cobra.Command, name string) {
	if words, ok := enums[name]; ok {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
}
