package models

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"paligemma/internal/adapter"
	"paligemma/internal/convert"
	"paligemma/internal/hub"
	"paligemma/internal/units"
)

// Request is a model that is wanted.
type Request struct {
	Name      Name
	Overwrite bool   // replace the model if it is there
	Keep      bool   // leave the download where it is
	Threads   int    // of the conversion
	Tokenizer string // a file, or a folder with one; "": that of the repository

	Note func(format string, args ...any)                // something that users should know
	Bar  func(total int64) (set func(int64), end func()) // shows a stage, of bytes
}

// Pulled is what became of a request.
type Pulled struct {
	Model
	Report     *convert.Report // nil: the model was there
	Downloaded string          // the folder of the checkpoint, where it was kept
}

// Pull makes a model of a repository: it downloads what convert needs, converts it
// and removes the download. It goes on where an earlier call was broken off, and
// leaves either the whole model or none. Of two at once, one waits for the other.
func (s *Store) Pull(ctx context.Context, client *hub.Client, r Request) (pulled *Pulled, err error) {
	below, err := r.Name.path()
	if err != nil {
		return nil, err
	}
	if s.dir == "" {
		return nil, errors.New("HOME is not set, which the folders for models and downloads are in: set it, or XDG_DATA_HOME and XDG_CACHE_HOME")
	}
	release, err := s.lockAll(ctx, r)
	if err != nil {
		return nil, notWritable(err, "downloads", "XDG_CACHE_HOME")
	}
	defer release()
	p := &pull{store: s, client: client, Request: r, path: filepath.Join(s.dir, below)}
	if there, err := p.settled(); err != nil || there != nil {
		return there, err
	}
	if err := p.list(ctx); err != nil {
		return nil, err
	}
	if there, err := p.there(); err != nil || there != nil {
		return there, err
	}
	if err := p.prepare(); err != nil {
		return nil, notWritable(err, "models", "XDG_DATA_HOME")
	}
	if err = p.download(ctx); err == nil {
		pulled, err = p.convert(ctx)
	}
	if err != nil {
		removeEmpty(filepath.Dir(p.path))
	}
	return pulled, err
}

// notWritable adds to an error what to set where a folder may not be written to.
func notWritable(err error, what, variable string) error {
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return err
	}
	return fmt.Errorf("%w: set %s to a folder for %s that you may write to", err, variable, what)
}

// prepare makes the folder of the model and tries to write to it: better now than after
// hours of downloading.
func (p *pull) prepare() error {
	dir := filepath.Dir(p.path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// lockAll locks the repositories of a request, in an order that all have.
func (s *Store) lockAll(ctx context.Context, r Request) (release func(), err error) {
	repositories := []string{r.Name.Base.Repository}
	for _, a := range r.Name.Adapters {
		repositories = append(repositories, a.Repository)
	}
	slices.Sort(repositories)
	var held []func()
	release = func() {
		for _, each := range held {
			each()
		}
	}
	for _, repository := range slices.Compact(repositories) {
		one, err := lock(ctx, s.lockPath(repository), func() {
			r.Note("another paligemma is pulling %s: waiting for it", repository)
		})
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, one)
	}
	return release, nil
}

// pull is a request that is carried out.
type pull struct {
	Request
	store  *Store
	client *hub.Client
	path   string // of the model

	base     *hub.Snapshot
	adapters []*hub.Snapshot
	origin   convert.Origin
	weight   string // the file that stands for the weights
	weights  []hub.File
}

// stored returns the model that is there, with its origin. The error is fs.ErrNotExist
// if none is, and an fs.PathError if it cannot be looked at; else its file is damaged.
func (p *pull) stored() (*Model, error) {
	info, err := os.Stat(p.path)
	if err != nil {
		return nil, err
	}
	m := &Model{Name: p.Name.String(), Path: p.path, Type: p.Name.Type, Bytes: info.Size(), Pulled: info.ModTime()}
	return m, m.ReadOrigin()
}

// settled returns the model that is there, where the hub need not or cannot be asked
// whether it is the wanted one.
func (p *pull) settled() (*Pulled, error) {
	m, err := p.stored()
	if err != nil || p.Overwrite {
		return nil, nil // see there
	}
	fixed := hub.IsCommit(p.Name.Base.Revision) && m.Origin.Commit == p.Name.Base.Revision
	for _, a := range p.Name.Adapters {
		fixed = fixed && hub.IsCommit(a.Revision)
	}
	if !fixed && !p.client.Offline {
		return nil, nil
	}
	p.Note("%s is there", m.Name)
	p.cleanUp(Source{p.Name.Base.Repository, m.Origin.Commit})
	return &Pulled{Model: *m}, nil
}

// list asks the hub for the commits and files.
func (p *pull) list(ctx context.Context) (err error) {
	base := p.Name.Base
	if p.base, err = p.client.Snapshot(ctx, base.Repository, base.Revision); err != nil {
		return err
	}
	p.origin = convert.Origin{Repository: base.Repository, URL: p.client.Page(base.Repository), Revision: base.Revision, Commit: p.base.Commit}
	for _, a := range p.Name.Adapters {
		snapshot, err := p.client.Snapshot(ctx, a.Repository, a.Revision)
		if err != nil {
			return err
		}
		p.adapters = append(p.adapters, snapshot)
		at := Adapter{Source{a.Repository, snapshot.Commit}, a.Scale}
		p.origin.Adapters = append(p.origin.Adapters, at.String())
	}
	return nil
}

// there returns the model if it is there, of the commits that the hub has.
func (p *pull) there() (*Pulled, error) {
	m, err := p.stored()
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist) || p.Overwrite:
		return nil, nil
	case errors.As(err, &path):
		return nil, err
	case err != nil:
		return nil, unusableError("%s is damaged: add --overwrite to pull it anew", p.path)
	case m.Origin.Commit != p.origin.Commit || !slices.Equal(m.Origin.Adapters, p.origin.Adapters):
		return nil, fmt.Errorf("%s is there, of an earlier revision (%.10s; the hub has %.10s): add --overwrite to replace it", m.Name, m.Origin.Commit, p.origin.Commit)
	}
	p.Note("%s is there, of the revision that the hub has (%.10s)", m.Name, m.Origin.Commit)
	p.cleanUp(p.downloads()...)
	return &Pulled{Model: *m}, nil
}

// folder returns where the files of a snapshot are downloaded to.
func (p *pull) folder(s *hub.Snapshot) string {
	return filepath.Join(p.store.commit(Source{s.ID, s.Commit}), path.Base(s.ID))
}

// download brings the files of all snapshots into their folders.
func (p *pull) download(ctx context.Context) error {
	chosen, err := p.choose()
	if err != nil {
		return err
	}
	small := chosen.first
	if chosen.indexed() {
		small = append(small, chosen.weight)
	}
	for _, a := range p.adapters {
		files, err := chooseAdapter(a)
		if err != nil {
			return err
		}
		if err := p.fetch(ctx, a, files); err != nil {
			return err
		}
	}
	if err := p.fetch(ctx, p.base, small); err != nil {
		return err
	}
	p.weight = chosen.weight.Path
	if p.weights, err = chosen.shards(p.base, p.folder(p.base)); err != nil {
		return err
	}
	if err := p.checkSpace(); err != nil {
		return err
	}
	return p.fetch(ctx, p.base, p.weights)
}

// checkSpace refuses a download that would not fit, or whose model would not.
func (p *pull) checkSpace() error {
	info, err := convert.FindType(p.Name.Type)
	if err != nil {
		return err
	}
	// What is known least is the type of the weights: F32 makes the smallest model.
	parameters := p.base.Parameters
	if parameters == 0 {
		for _, f := range p.weights {
			parameters += f.Size / 4
		}
	}
	dir := p.folder(p.base)
	if err := os.MkdirAll(p.store.dir, 0o777); err != nil {
		return err
	}
	return checkSpace(
		need{"the download", dir, p.client.Missing(p.base, p.weights, dir)},
		need{"the download with the model", p.store.dir, int64(float64(parameters) * info.Bits / 8)},
	)
}

// fetch downloads files of a snapshot.
func (p *pull) fetch(ctx context.Context, s *hub.Snapshot, files []hub.File) error {
	dir := p.folder(s)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var total int64
	for _, f := range files {
		total += f.Size
	}
	missing := p.client.Missing(s, files, dir)
	if there := total - missing; there > 0 && missing > 0 {
		p.Note("%s of %s: going on with the other %s", units.Bytes(there), units.Bytes(total), units.Bytes(missing))
	}
	set, end := p.Bar(missing)
	defer end()
	return p.client.Fetch(ctx, s, files, dir, func(done int64) { set(max(0, done-(total-missing))) })
}

// convert makes the model, and removes the downloads.
func (p *pull) convert(ctx context.Context) (*Pulled, error) {
	dir := p.folder(p.base)
	options := convert.Options{
		Type: p.Name.Type, Overwrite: p.Overwrite, Threads: p.Threads, Name: p.title(), Origin: &p.origin, Tokenizer: p.Tokenizer,
	}
	set, end := func(int64) {}, func() {}
	defer func() { end() }()
	started := false
	options.Progress = func(done, total int64) {
		if !started {
			started = true
			set, end = p.Bar(total)
		}
		set(done)
	}
	var err error
	if options.Adapters, err = p.openAdapters(); err != nil {
		return nil, &ConversionError{err}
	}
	defer adapter.CloseAll(options.Adapters)
	report, err := convert.Convert(ctx, p.checkpoint(), p.path, options)
	if err != nil {
		return nil, &ConversionError{err}
	}
	model, err := p.stored()
	if err != nil {
		return nil, unusableError("%s was changed meanwhile: %w", p.path, err)
	}
	pulled := &Pulled{Model: *model, Report: report}
	if p.Keep {
		pulled.Downloaded = dir
		return pulled, p.keep()
	}
	p.cleanUp(p.downloads()...)
	return pulled, nil
}

// checkpoint returns what is converted: the folder, or the file in it that was asked for.
func (p *pull) checkpoint() string {
	dir := p.folder(p.base)
	if p.Name.File == "" && !convert.IsBigVision(p.weight) {
		return dir
	}
	return filepath.Join(dir, p.weight)
}

// downloads returns what was downloaded, at commits.
func (p *pull) downloads() (all []Source) {
	for _, s := range append(p.adapters, p.base) {
		all = append(all, Source{s.ID, s.Commit})
	}
	return all
}

// keptSuffix ends the name of a file that says that the download next to it is to stay.
const keptSuffix = ".kept"

// keep has the downloads stay.
func (p *pull) keep() error {
	for _, d := range p.downloads() {
		if err := os.WriteFile(p.store.commit(d)+keptSuffix, nil, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// cleanUp removes downloads that are not to stay, also those that an earlier process
// left whose last moment was here.
func (p *pull) cleanUp(downloads ...Source) {
	for _, d := range downloads {
		dir := p.store.commit(d)
		if _, err := os.Stat(dir + keptSuffix); err == nil {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			p.Note("the download is left: %v", err)
		}
		os.Remove(filepath.Dir(dir)) // unless another commit is there
	}
}

// ConversionError says that a checkpoint was downloaded and not converted.
type ConversionError struct{ Err error }

// Error returns what convert says.
func (e *ConversionError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ConversionError) Unwrap() error { return e.Err }

// title returns the model's own name, general.name.
func (p *pull) title() string {
	_, title, _ := strings.Cut(p.Name.Base.Repository, "/")
	for _, a := range p.Name.Adapters {
		_, name, _ := strings.Cut(a.Repository, "/")
		title += "+" + name
	}
	return title
}

// openAdapters opens the adapters that were downloaded. The caller closes them.
func (p *pull) openAdapters() ([]adapter.Loaded, error) {
	var specs []adapter.Spec
	for i, s := range p.adapters {
		specs = append(specs, adapter.Spec{Path: p.folder(s), Scale: p.Name.Adapters[i].Scale})
	}
	return adapter.OpenAll(specs)
}
