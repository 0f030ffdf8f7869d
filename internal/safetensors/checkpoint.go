package safetensors

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/regular"
	"paligemma/internal/strictjson"
)

const (
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"
	suffix     = ".safetensors"

	maxShards   = 1000
	maxProblems = 3 // shown in one error or note
)

// Entry is a tensor of a checkpoint and the file it lies in.
type Entry struct {
	Tensor
	Path string
}

// Checkpoint is the set of tensors of one or several safetensors files.
type Checkpoint struct {
	dir     string
	files   map[string]*File // by path
	entries []Entry          // by name
	notes   []string
}

// Alias is another name of a tensor.
type Alias struct {
	Name string
	Entry
}

// OpenCheckpoint opens a checkpoint. The path is a folder with
// model.safetensors, or with model.safetensors.index.json and its shards, or
// with exactly one other index or *.safetensors (in that order of preference); or one safetensors file; or an index file (*.json).
//
// What counts is which tensors the shards have, as it does for transformers: an
// index that lists others gives a note.
//
// Symbolic links are followed, out of the folder too: the Hugging Face cache
// is made of them. Names out of an index are plain file names in its folder.
func OpenCheckpoint(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		if path, err = findIn(path); err != nil {
			return nil, err
		}
	}
	c := &Checkpoint{dir: filepath.Dir(path), files: make(map[string]*File)}
	if strings.HasSuffix(path, ".json") {
		err = c.openIndex(path)
	} else {
		err = c.openShard(path)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	for path, f := range c.files {
		for _, t := range f.Tensors {
			c.entries = append(c.entries, Entry{t, path})
		}
	}
	slices.SortFunc(c.entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return c, nil
}

// ErrNoWeights is wrapped where a folder has no safetensors file.
var ErrNoWeights = errors.New("no weights")

// Names that a folder's checkpoint has where it has not the usual ones. An index
// may name a variant: model.safetensors.index.fp16.json.
var (
	otherIndex  = regexp.MustCompile(`\.safetensors\.index(\.[^.]+)?\.json$`)
	otherSingle = regexp.MustCompile(`\.safetensors$`)
	shardName   = regexp.MustCompile(`-\d+-of-0*([2-9]|[1-9]\d+)(\.\w+)?\.safetensors$`)
)

// IsShard reports whether a file is named as one of several shards of a
// checkpoint.
func IsShard(name string) bool { return shardName.MatchString(name) }

// findIn chooses the file that stands for a folder's checkpoint.
func findIn(dir string) (string, error) {
	for _, name := range []string{singleName, indexName} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	name, err := Choose(names)
	if err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	return filepath.Join(dir, name), nil
}

// Choose returns which of a folder's files stands for its checkpoint: a
// safetensors file or an index. An ErrNoWeights is wrapped where none does.
func Choose(names []string) (string, error) {
	for _, name := range []string{singleName, indexName} {
		if slices.Contains(names, name) {
			return name, nil
		}
	}
	for _, kind := range []*regexp.Regexp{otherIndex, otherSingle} {
		var found []string
		for _, name := range names {
			if kind.MatchString(name) {
				found = append(found, name)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1 && !slices.ContainsFunc(found, func(name string) bool { return !IsShard(name) }):
			return "", fmt.Errorf("%d shards but no %s, which tells what belongs together: download or copy it here, too", len(found), indexName)
		case len(found) > 1:
			return "", fmt.Errorf("several files (%s) but no %s and no %s: name the file to use", list(quoted(found)), singleName, indexName)
		}
	}
	return "", fmt.Errorf("no %s, no %s and no other *%s in this folder: %w", singleName, indexName, suffix, ErrNoWeights)
}

// Shards returns the names of the files that an index lists, sorted: plain names,
// of files in its folder.
func Shards(index string) ([]string, error) {
	_, shards, err := readIndex(index)
	return shards, err
}

func (c *Checkpoint) openShard(path string) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	c.files[path] = f
	return nil
}

// openIndex opens an index and its shards, and checks one against the others.
func (c *Checkpoint) openIndex(path string) error {
	shardOf, shards, err := readIndex(path)
	if err != nil {
		return err
	}
	var missing []string
	for _, shard := range shards {
		err := c.openShard(filepath.Join(c.dir, shard))
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, shard)
		} else if err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: %d of %d shards are missing: %s: %w: download or copy them here", path, len(missing), len(shards), list(missing), fs.ErrNotExist)
	}
	return c.compare(path, shards, shardOf)
}

// compare refuses tensors that are in two shards, and notes how else the
// shards' tensors differ from the index's.
func (c *Checkpoint) compare(path string, shards []string, shardOf map[string]string) error {
	foundIn := make(map[string]string, len(shardOf))
	var twice, unlisted, elsewhere, absent []string
	for _, shard := range shards {
		for _, t := range c.files[filepath.Join(c.dir, shard)].Tensors {
			if other, dup := foundIn[t.Name]; dup {
				twice = append(twice, fmt.Sprintf("tensor %s is in %s and in %s", quote.Short(t.Name), other, shard))
				continue
			}
			foundIn[t.Name] = shard
			switch listed, ok := shardOf[t.Name]; {
			case !ok:
				unlisted = append(unlisted, t.Name)
			case listed != shard:
				elsewhere = append(elsewhere, t.Name)
			}
		}
	}
	if len(twice) > 0 {
		return fmt.Errorf("%s: %w", path, formatf("the shards do not belong together: %s", list(twice)))
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		if _, found := foundIn[name]; !found {
			absent = append(absent, name)
		}
	}
	slices.Sort(unlisted)
	slices.Sort(elsewhere)
	for _, n := range []struct {
		what  string
		names []string
	}{
		{"lists tensors that are in no shard", absent},
		{"lacks tensors that are in its shards", unlisted},
		{"places tensors in other shards than they are in", elsewhere},
	} {
		if len(n.names) > 0 {
			c.notes = append(c.notes, fmt.Sprintf("%s %s (%d: %s)", filepath.Base(path), n.what, len(n.names), list(quoted(n.names))))
		}
	}
	return nil
}

// quoted shortens names for a message.
func quoted(names []string) []string {
	short := make([]string, min(len(names), maxProblems+1))
	for i := range short {
		short[i] = quote.Short(names[i])
	}
	return append(short, names[len(short):]...)
}

// list joins the first few of a list.
func list(all []string) string {
	if n := len(all) - maxProblems; n > 0 {
		return fmt.Sprintf("%s; and %d more", strings.Join(all[:maxProblems], "; "), n)
	}
	return strings.Join(all, "; ")
}

// readIndex reads an index: which shard each tensor is in, and the shards, sorted.
func readIndex(path string) (shardOf map[string]string, shards []string, err error) {
	text, err := readIndexText(path)
	if err != nil {
		return nil, nil, err
	}
	if shardOf, err = parseIndex(text); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	shards = slices.Compact(slices.Sorted(maps.Values(shardOf)))
	if len(shards) > maxShards {
		return nil, nil, fmt.Errorf("%s: %w", path, formatf("%d shards, more than the limit of %d", len(shards), maxShards))
	}
	return shardOf, shards, nil
}

// readIndexText reads an index of limited size.
func readIndexText(path string) (string, error) {
	f, err := regular.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if f.Size() > maxHeader {
		return "", fmt.Errorf("%s: %w", path, formatf("%d bytes, more than the limit of %d", f.Size(), maxHeader))
	}
	text, err := readText(f, f.Size())
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}

// parseIndex returns the names of files that an index gives, by the tensors' names.
func parseIndex(text string) (map[string]string, error) {
	r, err := strictjson.NewReader(text)
	if err != nil {
		return nil, formatf("%v", err)
	}
	var shardOf map[string]string
	err = r.Object(func(key string) (err error) {
		if key != "weight_map" {
			return r.Skip()
		}
		if shardOf, err = parseWeightMap(r); err != nil {
			return fmt.Errorf("weight_map: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, formatf("index: %v", err)
	}
	if rest := strings.TrimLeft(r.Rest(), " \t\r\n"); rest != "" {
		return nil, formatf("index: %d bytes after the json's end", len(rest))
	}
	if len(shardOf) == 0 {
		return nil, formatf("index: no weight_map, or an empty one")
	}
	return shardOf, nil
}

// parseWeightMap reads the name of the shard of each tensor.
func parseWeightMap(r *strictjson.Reader) (map[string]string, error) {
	shardOf := make(map[string]string)
	err := r.Object(func(name string) error {
		shard, err := r.String()
		if err != nil {
			return fmt.Errorf("tensor %s: %w", quote.Short(name), err)
		}
		shardOf[name] = shard
		if err := checkName(name); err != nil {
			return err
		}
		return checkShard(shard)
	})
	return shardOf, err
}

// maxFileName bounds the name of a shard, so that a message can hold it.
const maxFileName = 100

// checkShard accepts a plain file name: no folders, no drives, no streams.
func checkShard(name string) error {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if !strings.HasSuffix(name, suffix) || len(name) > maxFileName || strings.ContainsAny(name, `/\:`) ||
		strings.ContainsFunc(name, control) || !filepath.IsLocal(name) {
		return formatf("weight_map: shard %s is not a plain name of a *%s file", quote.Short(name), suffix)
	}
	return nil
}

// Dir is the folder the checkpoint lies in, where config.json and
// tokenizer.json are.
func (c *Checkpoint) Dir() string { return c.dir }

// Notes says, a line each, in what the index and its shards differ.
func (c *Checkpoint) Notes() []string { return slices.Clone(c.notes) }

// Aliases lists the names that the files' metadata gives to tensors: where two
// are one, safetensors' save_model stores it once and names the other there.
func (c *Checkpoint) Aliases() []Alias {
	var all []Alias
	for path, f := range c.files {
		for name, stored := range f.Metadata {
			if t, ok := f.Lookup(stored); ok && checkName(name) == nil {
				all = append(all, Alias{name, Entry{t, path}})
			}
		}
	}
	slices.SortFunc(all, func(a, b Alias) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path)) })
	return all
}

// Tensors lists the tensors sorted by name.
func (c *Checkpoint) Tensors() []Entry { return slices.Clone(c.entries) }

// Lookup finds a tensor by name.
func (c *Checkpoint) Lookup(name string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(c.entries, name, func(e Entry, name string) int { return cmp.Compare(e.Name, name) })
	if !ok {
		return Entry{}, false
	}
	return c.entries[i], true
}

// file finds the file of an entry, which need not be this checkpoint's.
func (c *Checkpoint) file(e Entry) (*File, error) {
	f, ok := c.files[e.Path]
	if !ok {
		return nil, fmt.Errorf("%s: no such file in the checkpoint, for tensor %s", e.Path, quote.Short(e.Name))
	}
	return f, nil
}

// ReadAt fills p from off bytes into the tensor's data. Reading past the
// tensor's end is an error. It may be called from several goroutines.
func (c *Checkpoint) ReadAt(e Entry, p []byte, off int64) error {
	f, err := c.file(e)
	if err != nil {
		return err
	}
	return f.ReadAt(e.Tensor, p, off)
}

// ReadAll reads all of a tensor's data.
func (c *Checkpoint) ReadAll(e Entry) ([]byte, error) {
	f, err := c.file(e)
	if err != nil {
		return nil, err
	}
	return f.ReadAll(e.Tensor)
}

// Unchanged returns an error if one of the files was changed or replaced since it
// was opened.
func (c *Checkpoint) Unchanged() error {
	for _, f := range c.files {
		if err := f.Unchanged(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the files.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files = nil
	return errors.Join(errs...)
}
