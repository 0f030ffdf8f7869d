package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"paligemma/internal/adapter"
	"paligemma/internal/engine"
	"paligemma/internal/quote"
	"paligemma/internal/server"
)

// servedOptions are the flags that say which models are served, and how.
type servedOptions struct {
	Models       []string // NAME=MODEL or MODEL
	Adapters     []string // NAME=DIR[:SCALE]
	MaskDecoder  string
	Parallel     string
	parallel     int // of Parallel, once it is checked
	MaxQueue     int
	PrefillShare float64
	ImageCache   int64
	PrefixCache  int64
	AdapterCache int64
	KeepAlive    time.Duration
}

func (o *servedOptions) flags(f *pflag.FlagSet) {
	f.StringArrayVarP(&o.Models, "model", "m", nil, "serve `[NAME=]MODEL`: a GGUF file, as convert writes it, or the name of one that was pulled; may be repeated (default: a small built-in one)")
	f.StringArrayVar(&o.Adapters, "adapter", nil, "offer the adapter `NAME=DIR[:SCALE]` of the first model to requests that ask for it, in \"lora\"; may be repeated")
	annotate(f, "adapter", listVariable)
	f.StringVar(&o.MaskDecoder, "mask-decoder", "", "decode masks with `FILE`: vae-oid.npz, or a GGUF that has the decoder")
	f.StringVar(&o.Parallel, "parallel", autoBatch, "decode `N` texts together, as far as there is memory for them")
	f.IntVar(&o.MaxQueue, "max-queue", 256, "let `N` requests wait; others are refused (429)")
	f.Float64Var(&o.PrefillShare, "prefill-share", 0.9, "the `SHARE` of the time, above 0 and up to 1, that images and prompts of new requests may take while texts are written")
	f.Int64Var(&o.ImageCache, "image-cache", 256_000_000, "keep `N` bytes of images with their features, for requests about the same ones")
	f.Int64Var(&o.PrefixCache, "prefix-cache", 128_000_000, "keep `N` bytes of prompts, for requests that ask the same of the same images; 0: none")
	f.Int64Var(&o.AdapterCache, "adapter-cache", 1_000_000_000, "keep `N` bytes of adapters in memory that requests have asked for; those in use stay in any case")
	needs(f, "adapter-cache", "adapter")
	f.DurationVar(&o.KeepAlive, "keep-alive", 0, "close a model, and free an adapter, that nobody has asked for in a `TIME`, such as 10m; 0: never")
}

func (o *servedOptions) check() (err error) {
	if o.parallel, err = textsTogether("parallel", o.Parallel); err != nil {
		return err
	}
	switch {
	case o.MaxQueue < 0:
		return usageError{errors.New("--max-queue: want 0 or more")}
	case !(o.PrefillShare > 0 && o.PrefillShare <= 1):
		return usageError{fmt.Errorf("--prefill-share %v: want a share above 0 and up to 1", o.PrefillShare)}
	case o.ImageCache < 0 || o.PrefixCache < 0 || o.AdapterCache < 0:
		return usageError{errors.New("--image-cache, --prefix-cache and --adapter-cache: want 0 bytes or more")}
	case o.KeepAlive < 0:
		return usageError{errors.New("--keep-alive: want a time that is not negative, such as 10m")}
	}
	_, err = o.named()
	if err == nil {
		_, err = o.offered()
	}
	return err
}

// servedModel is a model that is served under a name.
type servedModel struct{ name, model string }

// parseServed reads [NAME=]MODEL. A file of that name counts as a whole. Names are valid
// UTF-8, as JSON and metrics need them.
func parseServed(text string) (servedModel, error) {
	name, model, named := strings.Cut(text, "=")
	if !named || strings.ContainsAny(name, `/\`) || exists(text) {
		name = strings.TrimSuffix(filepath.Base(text), ".gguf")
		return servedModel{strings.ToValidUTF8(name, "\uFFFD"), text}, nil
	}
	if name == "" || model == "" {
		return servedModel{}, usageError{fmt.Errorf("--model %s: want NAME=MODEL", quote.Short(text))}
	}
	return servedModel{strings.ToValidUTF8(name, "\uFFFD"), model}, nil
}

// named returns the models, each with a name of its own.
func (o *servedOptions) named() (all []servedModel, err error) {
	if len(o.Models) == 0 {
		return []servedModel{{name: builtIn}}, nil
	}
	for _, text := range o.Models {
		m, err := parseServed(text)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(x servedModel) bool { return x.name == m.name }) {
			return nil, usageError{fmt.Errorf("--model: two models are called %s: name them with NAME=MODEL", quote.Short(m.name))}
		}
		all = append(all, m)
	}
	return all, nil
}

// offered are adapters that requests may ask for.
func (o *servedOptions) offered() (all []server.Adapter, err error) {
	for _, text := range o.Adapters {
		name, path, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("--adapter %s: want NAME=DIR[:SCALE]", quote.Short(text))}
		}
		if slices.ContainsFunc(all, func(a server.Adapter) bool { return a.Name == name }) {
			return nil, usageError{fmt.Errorf("--adapter %s: the name is there twice", quote.Short(name))}
		}
		spec, err := adapter.ParseSpec(path)
		if err != nil {
			return nil, usageError{fmt.Errorf("--adapter %w", err)}
		}
		all = append(all, server.Adapter{Name: name, Spec: spec})
	}
	return all, nil
}

// openOffered sees what kinds of adapters there are, now rather than for the first request.
// Next to those of --lora, which every text of the model has, all are apart.
func openOffered(adapters []server.Adapter, lora bool) error {
	for i := range adapters {
		a := &adapters[i]
		opened, err := adapter.Open(a.Path)
		if err != nil {
			return offeredError(a, err)
		}
		a.Apart = lora || !opened.LowRankOnly()
		_ = opened.Close()
	}
	return nil
}

// checkOffered makes sure that a model can have each of some adapters, next to those of
// --lora, as far as the headers of the files say. What is wrong without them is told when
// the model is opened.
func checkOffered(adapters []server.Adapter, m modelOptions) error {
	lora, err := adapterSpecs(m.LoRA)
	if err != nil || len(adapters) == 0 {
		return err
	}
	config, err := m.config()
	if err != nil {
		return nil
	}
	if _, err := engine.CheckAdapters(config, lora); err != nil {
		return nil
	}
	for i := range adapters {
		if _, err := engine.CheckAdapters(config, append(slices.Clone(lora), adapters[i].Spec)); err != nil {
			return offeredError(&adapters[i], err)
		}
	}
	return nil
}

// offeredError says which adapter of --adapter an error is about.
func offeredError(a *server.Adapter, err error) error {
	return &engine.ModelError{Err: fmt.Errorf("--adapter %s: %w", quote.Short(a.Name), err)}
}

// served returns the models that a server offers.
func (a *app) served(m modelOptions, o *servedOptions) ([]server.Model, error) {
	adapters, err := o.offered()
	if err != nil {
		return nil, err
	}
	named, err := o.named()
	if err != nil {
		return nil, err
	}
	m.Model = named[0].model
	if err := openOffered(adapters, len(m.LoRA) > 0); err != nil {
		return nil, err
	}
	if err := checkOffered(adapters, m); err != nil {
		return nil, err
	}
	var all []server.Model
	for i, s := range named {
		m.Model = s.model
		offered := server.Model{
			Name:  s.name,
			Masks: func(e *engine.Engine) (*engine.Masks, error) { return openMasks(e, o.MaskDecoder) },
		}
		if i == 0 {
			offered.Adapters = adapters
		}
		offered.Open = a.opener(m, o, offered.Adapters)
		all = append(all, offered)
	}
	return all, nil
}

// opener returns what opens a model, with adapters of its own or none, after those of --lora.
// Without any of its own it gets room for those that are offered.
func (a *app) opener(m modelOptions, o *servedOptions, offered []server.Adapter) func(adapters []adapter.Spec) (*engine.Engine, error) {
	return func(adapters []adapter.Spec) (*engine.Engine, error) {
		options, err := m.options(o.parallel)
		if err != nil {
			return nil, err
		}
		options.Outlive = true
		options.PrefillShare, options.PrefixBytes = o.PrefillShare, o.PrefixCache
		options.Adapters = append(options.Adapters, adapters...)
		if len(adapters) == 0 {
			options.Offered, options.OfferedBytes = together(offered), o.AdapterCache
		}
		e, err := m.openWith(options)
		if err == nil {
			a.noteModel(e)
		}
		return e, err
	}
}

// together returns the adapters that one engine has for all texts.
func together(offered []server.Adapter) (specs []adapter.Spec) {
	for _, a := range offered {
		if !a.Apart {
			specs = append(specs, a.Spec)
		}
	}
	return specs
}
