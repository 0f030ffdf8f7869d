package models

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"paligemma/internal/hub"
	"paligemma/internal/quote"
	"paligemma/internal/safetensors"
)

// settings are the JSON files that convert reads.
var settings = []string{
	"config.json", "generation_config.json", "processor_config.json", "preprocessor_config.json",
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
}

// The files of an adapter.
const (
	adapterConfig  = "adapter_config.json"
	adapterWeights = "adapter_model.safetensors"

	tokenizerModel = "tokenizer.model" // where there is no tokenizer.json
)

// selection is what convert needs of a repository.
type selection struct {
	first  []hub.File // small files, among them the index
	weight hub.File   // a safetensors file or an index
}

// files are those in a repository's top folder, by name.
type files map[string]hub.File

func topFiles(s *hub.Snapshot) files {
	f := files{}
	for _, file := range s.Files {
		if !strings.Contains(file.Path, "/") {
			f[file.Path] = file
		}
	}
	return f
}

// among returns those of the names that there are.
func (f files) among(names ...string) (found []hub.File) {
	for _, name := range names {
		if file, ok := f[name]; ok {
			found = append(found, file)
		}
	}
	return found
}

// choose returns what of a repository makes a model.
func choose(s *hub.Snapshot) (selection, error) {
	f := topFiles(s)
	var names []string
	for name := range f {
		if name != adapterWeights {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	weight, err := safetensors.Choose(names)
	if errors.Is(err, safetensors.ErrNoWeights) {
		return selection{}, unusable(s, f)
	} else if err != nil {
		return selection{}, unusableError("%s: %w", s.ID, err)
	}
	chosen := selection{first: f.among(settings...), weight: f[weight]}
	if _, ok := f["tokenizer.json"]; !ok {
		chosen.first = append(chosen.first, f.among(tokenizerModel)...)
	}
	if _, ok := f["config.json"]; !ok {
		return selection{}, unusableError("%s has no config.json, so it is not a checkpoint of transformers", s.ID)
	}
	return chosen, nil
}

// shards returns the files of the weights, once the index is in a folder.
func (c selection) shards(s *hub.Snapshot, dir string) ([]hub.File, error) {
	if !c.indexed() {
		return []hub.File{c.weight}, nil
	}
	listed, err := safetensors.Shards(filepath.Join(dir, c.weight.Path))
	if err != nil {
		return nil, unusableError("%w", err)
	}
	found := topFiles(s).among(listed...)
	if len(found) < len(listed) {
		return nil, unusableError("%s has %d of the %d shards that its %s lists: it is not whole", s.ID, len(found), len(listed), c.weight.Path)
	}
	return found, nil
}

// indexed reports whether the weights are in several files.
func (c selection) indexed() bool { return strings.HasSuffix(c.weight.Path, ".json") }

// chooseAdapter returns what of a repository makes an adapter.
func chooseAdapter(s *hub.Snapshot) ([]hub.File, error) {
	f := topFiles(s)
	found := f.among(adapterConfig, adapterWeights)
	if len(found) == 2 {
		return found, nil
	}
	if _, ok := f["adapter_model.bin"]; ok {
		return nil, unusableError("the adapter %s is a PyTorch pickle, which can run code and is not read: ask for one in safetensors", s.ID)
	}
	return nil, unusableError("%s has no %s and %s, so it is not an adapter of PEFT", s.ID, adapterConfig, adapterWeights)
}

// weightsOfOthers are files that hold weights in other formats.
var weightsOfOthers = regexp.MustCompile(`\.(bin|pt|pth|ckpt|npz|msgpack|h5|onnx|gguf)$`)

// unusable says what a repository is that has no safetensors.
func unusable(s *hub.Snapshot, f files) error {
	if s.Cached {
		return unusableError("HF_HUB_OFFLINE is set, and the hub's cache has no weights of %s", s.ID)
	}
	if _, ok := f[adapterConfig]; ok {
		return unusableError("%s is an adapter: pull the model that it was made for, with --lora %[1]s", s.ID)
	}
	for _, file := range s.Files {
		if weightsOfOthers.MatchString(file.Path) {
			return unusableError("%s has no safetensors, but %s, which is not read: look for the model in the format of transformers", s.ID, quote.Short(file.Path))
		}
	}
	return unusableError("%s has no weights (*.safetensors) in revision %s", s.ID, quote.Short(s.Revision))
}

// UnusableError says that a repository does not hold what can be used.
type UnusableError struct{ Err error }

// Error returns what is wrong with the repository.
func (e *UnusableError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnusableError) Unwrap() error { return e.Err }

func unusableError(format string, args ...any) error {
	return &UnusableError{fmt.Errorf(format, args...)}
}
