package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"paligemma/internal/ggml"
	"paligemma/internal/nearest"
	"paligemma/internal/quote"
	"paligemma/internal/task"
)

// Values of --format and --progress.
const (
	formatText  = "text"
	formatJSON  = "json"
	formatJSONL = "jsonl"

	progressAuto   = "auto"
	progressNever  = "never"
	progressAlways = "always"
	progressJSON   = "json"
)

// enums are the flags that take one of a few words.
var enums = map[string][]string{
	"log-format": {logText, logJSON},
	"format":     {formatText, formatJSON, formatJSONL, formatCSV, formatCOCO, formatYOLO},
	"progress":   {progressAuto, progressNever, progressAlways, progressJSON},
	"style":      {task.StyleShort, task.StyleCOCO, task.StyleDetailed},
}

// commonOptions are the flags of every command.
type commonOptions struct {
	Format   string
	JSON     bool
	Progress string
	Quiet    bool
	Verbose  bool
	Timings  bool
}

func (o *commonOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.Format, "format", formatText, "`FORMAT` of the results: text, json or jsonl; of boxes also csv, coco or yolo")
	f.BoolVar(&o.JSON, "json", false, "short for --format json")
	exclude(f, "json", "format")
	f.StringVar(&o.Progress, "progress", progressAuto, "`WHEN` to show progress: auto (on a terminal), never or always; or json, where there is --output: an object a line on stderr")
	f.BoolVarP(&o.Quiet, "quiet", "q", false, "no notes and no progress")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "say more on stderr")
	f.BoolVar(&o.Timings, "timings", false, "print timings on stderr")
}

// refusedFlag is the value of a flag that other commands have.
type refusedFlag struct{}

func (refusedFlag) String() string   { return "" }
func (refusedFlag) Set(string) error { return errors.New("unknown flag") }
func (refusedFlag) Type() string     { return "refused" }

// refuse has a command not know some of the flags that all others have.
func refuse(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		flag := f.VarPF(refusedFlag{}, name, "", "")
		flag.Hidden, flag.NoOptDefVal = true, "true"
		annotate(f, name, noVariable)
	}
}

// resultFlags are those of [commonOptions] that say how results and progress are shown.
var resultFlags = []string{"format", "json", "progress", "timings"}

func (o *commonOptions) check(f *pflag.FlagSet) error {
	if o.JSON {
		if typed(f, "format") && o.Format != formatJSON {
			return usageError{fmt.Errorf("--json and --format %s exclude each other", quote.Short(o.Format))}
		}
		o.Format = formatJSON
	}
	for flag, value := range map[string]string{"format": o.Format, "progress": o.Progress} {
		if err := checkWord(flag, value, enums[flag]); err != nil {
			return err
		}
	}
	return nil
}

// json reports whether results are written as JSON.
func (o *commonOptions) json() bool { return o.Format == formatJSON || o.Format == formatJSONL }

func checkWord(flag, value string, words []string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return usageError{fmt.Errorf("--%s %s: want %s%s", flag, quote.Short(value), strings.Join(words, ", "), nearest.DidYouMean(nearest.Word(value, words)))}
}

// modelOptions are the flags of commands that run a model.
type modelOptions struct {
	deviceOptions
	Model   string
	Threads int
	NoMmap  bool
	Force   bool
	Special bool
	LoRA    []string
}

func (o *modelOptions) flags(f *pflag.FlagSet) {
	f.StringVarP(&o.Model, "model", "m", "", "the `MODEL`: a GGUF file, as convert writes it, or the name of one that was pulled (default: a small built-in one)")
	o.runFlags(f)
}

// runFlags are those that say how a model runs.
func (o *modelOptions) runFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.LoRA, "lora", nil, "add the adapter in `DIR[:SCALE]` to the model; may be repeated")
	annotate(f, "lora", listVariable)
	o.deviceOptions.flags(f)
	f.IntVarP(&o.Threads, "threads", "t", 0, "`N` CPU threads (default: the physical cores available)")
	f.BoolVar(&o.NoMmap, "no-mmap", false, "read the model into memory instead of mapping the file")
	f.BoolVar(&o.Force, "force", false, "try a model that seems too large for the memory there is")
	f.BoolVar(&o.Special, "special", false, "special tokens typed in a prompt (<image>, <bos>) count as such")
}

func (o *modelOptions) check() error {
	if _, err := adapterSpecs(o.LoRA); err != nil {
		return err
	}
	if err := checkThreads(o.Threads); err != nil {
		return err
	}
	return o.deviceOptions.check()
}

func checkThreads(n int) error {
	if n < 0 || n > ggml.MaxThreads() {
		return usageError{fmt.Errorf("--threads %d: want 1 to %d", n, ggml.MaxThreads())}
	}
	return nil
}

// imageOptions are the flags of commands that take images.
type imageOptions struct {
	limits    limitOptions
	FilesFrom string
	Null      bool
	Recursive bool
	Stream    bool
	WithPath  bool
	NoPath    bool
}

func (o *imageOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.FilesFrom, "files-from", "", "take the names of more images from `LIST`, one a line; - is stdin")
	f.BoolVarP(&o.Null, "null", "0", false, "names in --files-from end with a zero byte")
	needs(f, "null", "files-from")
	f.BoolVarP(&o.Recursive, "recursive", "r", false, "search the folders in folders, too")
	o.limits.flags(f)
}

// streamFlag adds --stream-images, for commands that answer each image by itself.
func (o *imageOptions) streamFlag(f *pflag.FlagSet) {
	f.BoolVar(&o.Stream, "stream-images", false, "standard input (-) is a stream of PNG and JPEG pictures: answer each")
}

// pathFlags adds what overrides whether text has the images' paths.
func (o *imageOptions) pathFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.WithPath, "with-path", "H", false, "put the path before each result of text, also of a single image")
	f.BoolVar(&o.NoPath, "no-path", false, "leave the path out")
	exclude(f, "with-path", "no-path")
}

func (o *imageOptions) check() error {
	if o.Null && o.FilesFrom == "" {
		return usageError{errors.New("--null (-0) needs --files-from")}
	}
	if o.WithPath && o.NoPath {
		return usageError{errors.New("--with-path (-H) and --no-path exclude each other")}
	}
	return nil
}

// limitOptions are the flags that bound what an image may cost. Zero means the
// default.
type limitOptions struct {
	MaxPixels int64
	MaxBytes  int64
}

func (o *limitOptions) flags(f *pflag.FlagSet) {
	f.Var((*positive)(&o.MaxPixels), "max-pixels", "refuse images of more than `N` pixels (default: what fits a third of the free memory, at most 178,956,970)")
	f.Var((*positive)(&o.MaxBytes), "max-bytes", "refuse image files of more than `N` bytes (default: a third of the free memory; 67.1 MB from a pipe)")
}

// positive is a flag's number, 1 or more; 0 where the flag is not given.
type positive int64

// Set implements [pflag.Value].
func (p *positive) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return errors.New("want a number, 1 or more")
	}
	*p = positive(n)
	return nil
}

// String implements [pflag.Value].
func (p *positive) String() string { return strconv.FormatInt(int64(*p), 10) }

// Type implements [pflag.Value].
func (p *positive) Type() string { return "int" }
