package models

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adrg/xdg"

	"paligemma/internal/convert"
	"paligemma/internal/gguf"
	"paligemma/internal/quote"
)

// Store is where models and downloads are kept.
type Store struct {
	dir       string // of models: OWNER/NAME/TYPE.gguf
	downloads string // of checkpoints on their way: OWNER--NAME/COMMIT
}

// Open returns the user's store. Its folders need not exist. Where it is not known which
// they are, it has no models.
func Open() *Store {
	if home, err := os.UserHomeDir(); (err != nil || !filepath.IsAbs(home)) && !(isSet("XDG_DATA_HOME") && isSet("XDG_CACHE_HOME")) {
		return &Store{}
	}
	return &Store{
		dir:       filepath.Join(xdg.DataHome, "paligemma", "models"),
		downloads: filepath.Join(xdg.CacheHome, "paligemma", "downloads"),
	}
}

// isSet reports whether a variable names a folder that counts: a relative one does not.
func isSet(name string) bool { return filepath.IsAbs(os.Getenv(name)) }

// Model is a model of a store.
type Model struct {
	Name   string
	Path   string
	Type   string
	Bytes  int64
	Pulled time.Time
	Origin convert.Origin // see ReadOrigin
}

// ReadOrigin opens the file for what it says of its origin.
func (m *Model) ReadOrigin() error {
	f, err := gguf.Open(m.Path, gguf.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	m.Origin = convert.OriginOf(f.Header)
	return nil
}

// List returns all models, by name, without their origins.
func (s *Store) List() ([]Model, error) {
	if s.dir == "" {
		return nil, nil
	}
	var all []Model
	owners, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	for _, owner := range owners {
		folders, _ := os.ReadDir(filepath.Join(s.dir, owner.Name()))
		for _, folder := range folders {
			dir := filepath.Join(s.dir, owner.Name(), folder.Name())
			files, _ := os.ReadDir(dir)
			for _, file := range files {
				name := nameOf(owner.Name(), folder.Name(), file.Name())
				info, err := os.Stat(filepath.Join(dir, file.Name()))
				if name == "" || err != nil || !info.Mode().IsRegular() {
					continue
				}
				all = append(all, Model{
					Name: name, Path: filepath.Join(dir, file.Name()), Type: strings.TrimSuffix(file.Name(), extension),
					Bytes: info.Size(), Pulled: info.ModTime(),
				})
			}
		}
	}
	slices.SortFunc(all, func(a, b Model) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// ErrUnknown says that a store has no model of a name.
var ErrUnknown = errors.New("no such model")

// Find returns the model of a name. The owner, the type, and the revision with the
// adapters may be left out where one model only remains; part says whether any part
// of a name will do that one model only has.
func (s *Store) Find(name string, part bool) (Model, error) {
	all, err := s.List()
	if err != nil {
		return Model{}, err
	}
	matches := []func(full string) bool{
		func(full string) bool { return full == name },
		func(full string) bool { return isShort(full, name) },
		func(full string) bool { return isShort(repositoryOf(full)+full[strings.LastIndex(full, ":"):], name) },
	}
	if part {
		matches = append(matches, func(full string) bool { return strings.Contains(strings.ToLower(full), strings.ToLower(name)) })
	}
	for _, match := range matches {
		var found []Model
		var names []string
		for _, m := range all {
			if match(m.Name) {
				found, names = append(found, m), append(names, m.Name)
			}
		}
		switch {
		case name == "":
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return Model{}, fmt.Errorf("%s may be %s: name one of them", quote.Short(name), some(names, " or "))
		}
	}
	return Model{}, fmt.Errorf("%s: %w", quote.Short(name), ErrUnknown)
}

// isShort reports whether a name is a full one without its owner, its type or both.
func isShort(full, name string) bool {
	_, bare, _ := strings.Cut(full, "/")
	for _, text := range []string{full, bare} {
		untyped := text[:strings.LastIndex(text, ":")]
		if strings.EqualFold(name, text) || strings.EqualFold(name, untyped) {
			return true
		}
	}
	return false
}

// Remove removes a model, if it has a path, and what was downloaded of its
// repository where no other model of that is left.
func (s *Store) Remove(m Model) error {
	if m.Path != "" {
		if err := os.Remove(m.Path); err != nil {
			return err
		}
		removeEmpty(filepath.Dir(m.Path))
	}
	repository := repositoryOf(m.Name)
	all, err := s.List()
	if err != nil || slices.ContainsFunc(all, func(other Model) bool { return repositoryOf(other.Name) == repository }) {
		return err
	}
	return s.removeDownload(repository)
}

// removeEmpty removes the folder of a model's types, and that of its owner, where
// nothing is left in them.
func removeEmpty(folder string) {
	if os.Remove(folder) == nil {
		os.Remove(filepath.Dir(folder))
	}
}

// repositoryOf returns the repository in a name.
func repositoryOf(name string) string {
	if end := strings.IndexAny(name, "#@+:"); end >= 0 {
		return name[:end]
	}
	return name
}

// HasDownload reports whether something of a repository was downloaded.
func (s *Store) HasDownload(repository string) bool {
	if s.downloads == "" {
		return false
	}
	_, err := os.Lstat(s.download(repository))
	return err == nil
}

// removeDownload removes what was downloaded of a repository.
func (s *Store) removeDownload(repository string) error {
	if !s.HasDownload(repository) {
		return nil
	}
	release, locked, err := tryLock(s.lockPath(repository))
	if err != nil {
		return err
	}
	if !locked {
		return fmt.Errorf("%s is being pulled: wait for that, or stop it", repository)
	}
	defer release()
	return os.RemoveAll(s.download(repository))
}

// download returns the folder of a repository's downloads.
func (s *Store) download(repository string) string {
	return filepath.Join(s.downloads, strings.ReplaceAll(repository, "/", "--"))
}

// commit returns the folder of a download at a commit. In it is one with the name of
// the repository, after which an adapter is called.
func (s *Store) commit(d Source) string { return filepath.Join(s.download(d.Repository), d.Revision) }

// lockPath returns the file whose lock a process has that pulls from a repository.
func (s *Store) lockPath(repository string) string { return s.download(repository) + ".lock" }
