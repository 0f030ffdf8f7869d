package cli

import (
	"paligemma/internal/demo"
	"paligemma/internal/engine"
)

// openModel opens the model that the flags name, the built-in one if they name
// none. The caller closes it.
func (a *app) openModel(o modelOptions) (*engine.Engine, error) {
	if o.Model == "" {
		a.note("no model is named: this is the built-in one, which knows drawn shapes and words; " +
			"for photographs convert a checkpoint (`paligemma convert --help`) and name it with -m or PALIGEMMA_MODEL")
	}
	e, err := o.open()
	if err != nil {
		return nil, err
	}
	threads, refused := e.Threads()
	if refused > 0 {
		a.note("the system starts no more threads (ulimit -u, a limit of processes): %d in place of %d compute", threads, threads+refused)
	}
	a.detail("%s: %s, %s, %d threads", e.Path(), e.Config().Arch, e.Device().Name, threads)
	return e, nil
}

// open opens the model for one text at a time, unless o says otherwise.
func (o modelOptions) open() (*engine.Engine, error) {
	options := engine.Options{
		Device: o.Device, Threads: o.Threads, NoMmap: o.NoMmap, Special: o.Special, Force: o.Force, Parallel: max(1, o.parallel),
	}
	if o.Model != "" {
		return engine.Open(o.Model, options)
	}
	file, err := demo.Open()
	if err != nil {
		return nil, modelError{err}
	}
	return engine.New(file, options)
}
