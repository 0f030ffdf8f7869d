// Command gpu_check shows what paligemma does on a GPU: driver and devices, the tests on
// it, its speed next to transformers, how far its logits and marks are from the CPU's,
// and what happens when its memory is full.
//
//	go run ./scripts/gpu_check                                 # on this machine
//	go run ./scripts/gpu_check prepare build/gpu_check.tar.xz  # for a machine without Go
//
// and there, in a copy of the repository with that file:
//
//	python3 -m tarfile -e build/gpu_check.tar.xz DIR           # or tar -xf
//	DIR/gpu_check run -minutes 9 -out RESULTS
//
// It writes gpu_check.md, gpu_check.json and log.txt into the folder of -out, after each
// part and before it. The parts are in the order of their value, and each has a limit of
// its own; what the time cuts off is listed, and so is what something is missing for. The exit status is 1 where an aim was
// missed, 0 where none was, without a GPU too, and 2 where nothing could be checked.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// options are the flags of run.
type options struct {
	device      string
	minutes     float64
	out         string
	models      []string
	types       []string
	compared    []string
	only        []string
	repetitions int
	scenes      int
	python      string
	scratch     string
	checkpoint  string
	oversized   string
}

// errMissed ends a check that went through and found a missed aim.
var errMissed = errors.New("an aim was missed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, os.Args[1:])
	switch {
	case errors.Is(err, errMissed):
		os.Exit(1)
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "gpu_check:", err)
		os.Exit(2)
	}
}

// dispatch runs prepare, run, or both.
func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "prepare" {
		return prepareCommand(ctx, args[1:])
	}
	packed := len(args) > 0 && args[0] == "run"
	if packed {
		args = args[1:]
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(o.scratch, "gpu_check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if o.scratch, err = filepath.Abs(scratch); err != nil { // tests run in folders of their own
		return err
	}
	programs := filepath.Join(o.scratch, "programs")
	if !packed {
		err = (build{binary: "bin/paligemma", native: true}).stage(ctx, programs)
	} else {
		programs, err = unpacked()
	}
	if err != nil {
		return err
	}
	return run(ctx, o, programs)
}

// unpacked returns the folder of this program, in which prepare's others are.
func unpacked() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(self)
	return dir, restore(dir, sharedFile)
}

func parse(args []string) (options, error) {
	var o options
	var models, types, compared, only string
	f := flag.NewFlagSet("gpu_check", flag.ContinueOnError)
	f.StringVar(&o.device, "device", "cuda0", "what to check: a `NAME` of paligemma devices; plain: tests on the CPU with the graphs of other devices")
	f.Float64Var(&o.minutes, "minutes", 9, "end within `N` minutes")
	f.StringVar(&o.out, "out", "gpu_check", "the `DIR` to write to")
	f.StringVar(&models, "models", "3b-224,3b-896,pg2-3b-448,pg2-10b-448", "models to time, as paligemma bench --synthetic names them")
	f.StringVar(&types, "types", "bf16,q4_k_m,q8_0", "their types")
	f.StringVar(&compared, "logits", "bf16,q4_k_m,q8_0,f32", "types whose logits are compared")
	f.StringVar(&only, "only", "", "parts to do, of "+strings.Join(parts, ",")+"; all if empty")
	f.IntVar(&o.repetitions, "repetitions", 3, "of each measurement")
	f.IntVar(&o.scenes, "scenes", 1000, "drawn scenes to mark the built-in model on, at most")
	f.StringVar(&o.python, "python", "python3", "the `PYTHON` that has torch and transformers")
	f.StringVar(&o.scratch, "scratch", "", "a `DIR` for model files, 30 GB for a 3B, 5 more with -checkpoint; default: in memory where there is a lot, else that for temporary files")
	f.StringVar(&o.checkpoint, "checkpoint", "", "the `DIR` of a checkpoint whose logits are compared, in place of random weights of the first model")
	f.StringVar(&o.oversized, "oversized", "", "a `MODEL:TYPE` that cannot fit; default: the first model, with the card's memory filled by torch")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.models, o.types, o.compared, o.only = list(models), list(types), list(compared), list(only)
	for _, typ := range o.compared {
		if weightBytes[typ] == 0 {
			return o, fmt.Errorf("-logits %s: want some of %s", typ, strings.Join(slices.Sorted(maps.Keys(weightBytes)), ","))
		}
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q: want flags, or prepare DIR, or run", f.Arg(0))
	case o.minutes <= 0 || o.repetitions < 1 || o.scenes < 1:
		return o, errors.New("-minutes, -repetitions and -scenes: want more than 0")
	case len(o.models) == 0 || len(o.types) == 0:
		return o, errors.New("-models and -types: name at least one")
	}
	for _, part := range o.only {
		if !slices.Contains(parts, part) {
			return o, fmt.Errorf("-only %s: want some of %s", part, strings.Join(parts, ","))
		}
	}
	if o.scratch == "" {
		o.scratch = roomiest()
	}
	return o, nil
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

// run does the parts and writes what they found.
func run(ctx context.Context, o options, programs string) error {
	c, err := newCheck(o, programs)
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	err = c.all(ctx)
	fmt.Print(c.report.markdown())
	return err
}
