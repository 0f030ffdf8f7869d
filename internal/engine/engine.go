// Package engine is an open model that answers requests: images in, text and
// scores out. Any goroutine may call it; one goroutine owns the model, and
// decodes the texts of all requests under way together.
//
// A request's life: [Engine.NewImage] fits a picture to the vision tower,
// [Engine.Encode] computes its features, [Engine.Generate] lays out the prompt,
// waits for a place among the sequences, and returns the text. Canceling a
// request's context frees its sequence and disturbs no other.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"paligemma/internal/adapter"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/tokenizer"
)

// DefaultParallel is how many sequences are decoded together unless Options say
// otherwise.
const DefaultParallel = 16

// ErrClosed is the error of requests to an engine that was closed.
var ErrClosed = errors.New("the engine is closed")

// ErrLost is the error of requests to an engine whose device is gone, where Options.Outlive
// has the process go on.
var ErrLost = ggml.ErrLost

// ErrMemory is the error of what the machine or a device refused memory for.
var ErrMemory = ggml.ErrMemory

// ModelError says that a model is missing, corrupt, not a PaliGemma, or was
// changed while it was in use. Its text names the file.
type ModelError struct{ Err error }

func (e *ModelError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ModelError) Unwrap() error { return e.Err }

// Options say how to open a model.
type Options struct {
	Device   string         // what ggml.FindDevices takes: "auto", or names of devices
	Split    model.Split    // of the layers, where there are several devices
	Threads  int            // CPU threads; 0: as many as the process may use
	NoMmap   bool           // read the file into memory in place of mapping it
	Special  bool           // special tokens typed in a prompt count as such
	Force    bool           // do not ask whether the memory will do
	Parallel int            // sequences decoded together, at most; 0: DefaultParallel
	Adapters []adapter.Spec // added to the model, in this order

	// Offered are adapters that LoadAdapters may be asked for, of which OfferedBytes are
	// kept, or one: devices must have room for them.
	Offered      []adapter.Spec
	OfferedBytes int64

	Outlive bool // a device that is gone is ErrLost for all requests, and not the end of the process
	Plain   bool // graphs are those of other devices: to test these on the CPU (ggml.Options.Plain)

	// PrefillShare bounds the share of time, up to 1, that images and prompts of new
	// requests take while texts are decoded: there is a step of all texts at least
	// between two of them. 0: what is new comes first.
	PrefillShare float64
	PrefixBytes  int64 // of prompts that are kept, for requests that ask the same again; 0: none
}

// Adapter is an adapter that was added to a model.
type Adapter struct {
	Files []string
	Scale float64
}

// Engine is an open model. Its methods may be called from any goroutine.
type Engine struct {
	file    *gguf.File
	plan    model.Plan
	backend *ggml.Backend
	model   *model.Model
	tok     *tokenizer.Tokenizer
	config  model.Config
	notes   []string
	added   []Adapter
	force   bool

	ready func() error // waits for the tokenizer, once
	load  time.Duration

	encodings   encodings
	work        chan func()      // computations that own the model while they run
	generations chan *generation // those that wait for a place
	parallel    int
	share       float64   // see Options.PrefillShare
	prefixes    *prefixes // touched by the owner only; nil: none are kept
	stats       stats
	ctx         context.Context // of steps of several sequences; ends with Close
	cancel      context.CancelFunc
	done        chan struct{}   // closed when the owner has ended
	lost        <-chan struct{} // closed when a device is gone; nil: the process ends with it

	mu       sync.Mutex
	closed   bool
	requests sync.WaitGroup // under way: what they use is freed after them
}

// Open opens the model in a GGUF file. The tokenizer loads in the background:
// the first prompt waits for it. The caller closes the engine. Errors about the
// file are ModelErrors, or wrap a MemoryError.
func Open(path string, o Options) (*Engine, error) {
	return o.outlive(func() (*Engine, error) { return o.open(path) })
}

// outlive returns what f does, or ErrLost where a device is gone meanwhile: f then never
// returns.
func (o Options) outlive(f func() (*Engine, error)) (*Engine, error) {
	if !o.Outlive {
		return f()
	}
	type opened struct {
		e   *Engine
		err error
	}
	done := make(chan opened, 1)
	go func() {
		e, err := f()
		done <- opened{e, err}
	}()
	select {
	case d := <-done:
		return d.e, d.err
	case <-ggml.Lost():
		return nil, ErrLost
	}
}

// open opens the model in a file.
func (o Options) open(path string) (*Engine, error) {
	info, err := os.Stat(path)
	if err != nil {
		if pe := (*os.PathError)(nil); errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &ModelError{fmt.Errorf("model %s: %w", path, err)}
	}
	if info.IsDir() {
		return nil, &ModelError{fmt.Errorf("model %s is a folder: make a GGUF file of it with `paligemma convert`", path)}
	}
	start := time.Now()
	adapters, err := adapter.OpenAll(o.Adapters)
	if err != nil {
		return nil, &ModelError{err}
	}
	defer adapter.CloseAll(adapters)
	var plan model.Plan
	check := func(h *gguf.Header, size int64) (err error) {
		plan, err = o.plan(h, size, adapters)
		return err
	}
	file, err := gguf.Open(path, gguf.Options{NoMmap: o.NoMmap, Before: check})
	if err != nil {
		return nil, &ModelError{err}
	}
	return open(file, plan, adapters, o, start)
}

// New opens the model in an open file, which the engine closes, also where it
// returns an error.
func New(file *gguf.File, o Options) (*Engine, error) {
	return o.outlive(func() (*Engine, error) { return o.openFile(file) })
}

// openFile opens the model in an open file.
func (o Options) openFile(file *gguf.File) (*Engine, error) {
	start := time.Now()
	adapters, err := adapter.OpenAll(o.Adapters)
	if err != nil {
		file.Close()
		return nil, &ModelError{err}
	}
	defer adapter.CloseAll(adapters)
	plan, err := o.plan(file.Header, int64(len(file.Bytes())), adapters)
	if err != nil {
		file.Close()
		return nil, &ModelError{fmt.Errorf("%s: %w", file.Path(), err)}
	}
	return open(file, plan, adapters, o, start)
}

func open(file *gguf.File, plan model.Plan, adapters []adapter.Loaded, o Options, start time.Time) (*Engine, error) {
	e := &Engine{
		file: file, plan: plan, force: o.Force, parallel: o.parallel(),
		share: max(0, min(1, o.PrefillShare)),
		work:  make(chan func()), generations: make(chan *generation), done: make(chan struct{}),
	}
	if o.Outlive {
		e.lost = ggml.Lost()
	}
	for _, a := range adapters {
		e.added = append(e.added, Adapter{a.Files(), a.Scale})
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := e.bind(adapters, o); err != nil {
		e.free()
		return nil, err
	}
	e.ready = sync.OnceValue(func() error {
		wait := time.Now()
		if err := e.tok.Ready(); err != nil {
			return &ModelError{fmt.Errorf("%s: %w", e.file.Path(), err)}
		}
		e.load += time.Since(wait)
		return nil
	})
	e.load = time.Since(start)
	go e.own()
	return e, nil
}

// bind loads what is in the file, and in adapters.
func (e *Engine) bind(adapters []adapter.Loaded, o Options) error {
	config, err := model.ReadConfig(e.file.Header)
	if err != nil { // before the tokenizer's errors
		return &ModelError{fmt.Errorf("%s: %w", e.file.Path(), err)}
	}
	var changes []model.Change
	if len(adapters) > 0 {
		if changes, e.notes, err = adapter.Changes(config, adapters); err != nil {
			return &ModelError{err}
		}
	}
	if e.tok, err = tokenizer.OpenGGUF(e.file.Header, o.Special); err != nil {
		return &ModelError{fmt.Errorf("%s: %w", e.file.Path(), err)}
	}
	if e.backend, err = ggml.NewBackend(ggml.Options{Device: e.plan.Devices(), Threads: o.Threads, Plain: o.Plain}); err != nil {
		return err
	}
	if e.model, err = model.LoadPlan(e.file, e.backend, e.plan, changes...); err != nil {
		return &ModelError{err}
	}
	e.config = e.model.Config()
	if o.PrefixBytes > 0 {
		e.prefixes = newPrefixes(o.PrefixBytes, e.ImageBytes())
	}
	return e.unchanged() // other devices have a copy of the weights
}

// Close ends all requests with ErrClosed and frees the model. It waits for the
// requests, so none may call it. Where a device is gone, nothing can be freed, and it
// does not wait.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel()
	freed := make(chan struct{})
	go func() {
		defer close(freed)
		<-e.done
		e.requests.Wait()
		e.free()
	}()
	select {
	case <-freed:
	case <-e.lost:
	}
}

// enter counts a request, which calls leave at its end.
func (e *Engine) enter() (leave func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	e.requests.Add(1)
	return e.requests.Done, nil
}

// free frees everything, in the order that owners and users ask for.
func (e *Engine) free() {
	e.cancel()
	if e.model != nil {
		e.model.Close()
	}
	if e.backend != nil {
		e.backend.Close()
	}
	if e.tok != nil {
		e.tok.Close()
	}
	e.file.Close()
}

// Notes returns what a user should know of the adapters.
func (e *Engine) Notes() []string { return e.notes }

// Path returns the name of the model's file.
func (e *Engine) Path() string { return e.file.Path() }

// Files returns the paths of all files that were read: the model's and those of the
// adapters.
func (e *Engine) Files() []string {
	all := []string{e.file.Path()}
	for _, a := range e.added {
		all = append(all, a.Files...)
	}
	return all
}

// Adapters returns what was added to the model, in this order.
func (e *Engine) Adapters() []Adapter { return e.added }

// File returns the model's file, for its keys and tensors.
func (e *Engine) File() *gguf.File { return e.file }

// Config returns the model's configuration.
func (e *Engine) Config() model.Config { return e.config }

// Tokenizer returns the model's tokenizer.
func (e *Engine) Tokenizer() *tokenizer.Tokenizer { return e.tok }

// CellType returns the type of the keys and values that are kept of each token.
func (e *Engine) CellType() gguf.Type { return e.model.Options().CellType() }

// Devices returns what the model is computed on.
func (e *Engine) Devices() []ggml.Device { return e.backend.Devices() }

// DeviceBytes returns the bytes of the weights on devices other than the CPU, without those
// of adapters.
func (e *Engine) DeviceBytes() int64 {
	n := int64(0)
	for _, s := range e.plan.Shares {
		if !s.Host {
			n += s.Weights
		}
	}
	return n
}

// KeepsGraphs reports whether graphs are kept on the device, so that the first passes of a
// kind take longer than those after them.
func (e *Engine) KeepsGraphs() bool { return e.model.KeepsGraphs() }

// Threads returns the number of CPU threads, and how many more the system
// refused to start.
func (e *Engine) Threads() (n, refused int) { return e.backend.Threads(), e.backend.Refused() }

// Progress reports how far the computation under way has come.
func (e *Engine) Progress() ggml.Progress { return e.backend.Progress() }

// LoadTime returns how long it took until the model was ready, waiting for the
// tokenizer included.
func (e *Engine) LoadTime() (time.Duration, error) {
	err := e.ready()
	return e.load, err
}

// unchanged makes sure that the mapped file is still the one that was checked.
func (e *Engine) unchanged() error {
	if err := e.file.Unchanged(); err != nil {
		return &ModelError{fmt.Errorf("%w (--no-mmap reads it into memory at the start)", err)}
	}
	return nil
}

// blame is the error of a pass: first of all that the model was changed in the
// meantime, for then the results mean nothing. It names the model where it
// computed something that is NaN.
func (e *Engine) blame(err error) error {
	if changed := e.unchanged(); changed != nil && !errors.Is(err, context.Canceled) {
		return changed
	}
	if errors.Is(err, model.ErrNaN) {
		return &ModelError{fmt.Errorf("%s: %w", e.file.Path(), err)}
	}
	return err
}
