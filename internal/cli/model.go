package cli

import (
	"cmp"
	"fmt"

	"paligemma/internal/demo"
	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/units"
)

// openModel opens the model that the flags name, the built-in one if they name
// none, for one text at a time. The caller closes it.
func (a *app) openModel(o modelOptions) (*engine.Engine, error) {
	a.noteBuiltIn(o)
	e, err := o.open(1)
	if err == nil {
		a.noteModel(e)
	}
	return e, err
}

// noteBuiltIn says so where the built-in model answers.
func (a *app) noteBuiltIn(o modelOptions) {
	if o.Model == "" {
		a.note("built-in model, which knows drawn shapes only: name another with -m")
	}
}

// noteModel says what was opened, and where it runs.
func (a *app) noteModel(e *engine.Engine) {
	threads, refused := e.Threads()
	if refused > 0 {
		a.note("the system starts no more threads (ulimit -u, a limit of processes): %d in place of %d compute", threads, threads+refused)
	}
	for _, note := range e.Notes() {
		a.note("%s", note)
	}
	for _, line := range unused() {
		a.detail("%s", line)
	}
	a.detail("%s: %s, %s, %s, kernels for %s", e.Path(), e.Config().Arch, ggml.Names(e.Devices()), units.Count(threads, "thread", "threads"), ggml.ISA())
}

// maxPluginPath bounds the path of a plug-in in a line.
const maxPluginPath = 300

// unused says of each plug-in that was found, and each device that was tried, and does not
// work why.
func unused() []string {
	var lines []string
	for _, p := range ggml.Plugins() {
		if p.Problem != "" {
			lines = append(lines, fmt.Sprintf("plug-in %s is not used: %s", quote.Line(p.Path, maxPluginPath), p.Problem))
		}
	}
	for _, err := range ggml.Unstarted() {
		lines = append(lines, err.Error())
	}
	return lines
}

// builtIn is the name of the built-in model in JSON.
const builtIn = "built-in"

// name returns what the flags name, in JSON.
func (o modelOptions) name() string { return cmp.Or(o.Model, builtIn) }

// options are the engine's, for a number of texts at a time.
func (o modelOptions) options(parallel int) (engine.Options, error) {
	adapters, err := adapterSpecs(o.LoRA)
	if err != nil {
		return engine.Options{}, err
	}
	devices, split, err := o.resolve()
	return engine.Options{
		Device: devices, Split: split, Threads: o.Threads, NoMmap: o.NoMmap, Special: o.Special, Force: o.Force, Parallel: parallel, Adapters: adapters,
	}, err
}

// open opens the model for a number of texts at a time.
func (o modelOptions) open(parallel int) (*engine.Engine, error) {
	options, err := o.options(parallel)
	if err != nil {
		return nil, err
	}
	return o.openWith(options)
}

// config reads the configuration of the model that the flags name, from the header of its
// file.
func (o modelOptions) config() (model.Config, error) {
	file, err := openGGUF(o.Model)
	if err != nil {
		return model.Config{}, err
	}
	defer file.Close()
	return model.ReadConfig(file.Header)
}

// openWith opens the model with options of the engine.
func (o modelOptions) openWith(options engine.Options) (*engine.Engine, error) {
	if o.Model != "" {
		path, err := modelPath(o.Model)
		if err != nil {
			return nil, err
		}
		e, err := engine.Open(path, options)
		if err != nil {
			return nil, explainModel(o.Model, err)
		}
		return e, nil
	}
	file, err := demo.Open()
	if err != nil {
		return nil, &engine.ModelError{Err: err}
	}
	return engine.New(file, options)
}
