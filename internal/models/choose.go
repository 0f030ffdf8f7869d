package models

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"paligemma/internal/convert"
	"paligemma/internal/hub"
	"paligemma/internal/quote"
	"paligemma/internal/safetensors"
)

// The JSON files that convert reads: of a checkpoint of transformers, and of its
// tokenizer.
var (
	settings       = []string{configFile, "generation_config.json", "processor_config.json", "preprocessor_config.json"}
	tokenizerFiles = []string{tokenizerJSON, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}
)

const (
	adapterConfig  = "adapter_config.json"
	adapterWeights = "adapter_model.safetensors"

	configFile     = "config.json"
	tokenizerJSON  = "tokenizer.json"
	tokenizerModel = "tokenizer.model" // where there is no tokenizer.json
)

// selection is what convert needs of a repository.
type selection struct {
	first  []hub.File // small files, among them the index
	weight hub.File   // a safetensors file, an index, or an npz of big_vision
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

// choose returns what of a repository makes a model: the file of weights that is asked
// for, or the one that stands for it, and what belongs to it. A tokenizer may come from
// elsewhere.
func (p *pull) choose() (selection, error) {
	s, f := p.base, topFiles(p.base)
	weight := p.Name.File
	if _, ok := f[weight]; weight != "" && !ok {
		return selection{}, unusableError("%s has no file %s in revision %s%s", s.ID, quote.Short(weight), quote.Short(s.Revision), f.advice())
	}
	if weight == "" {
		var err error
		if weight, err = standard(s, f); err != nil {
			return selection{}, err
		}
	}
	if safetensors.IsShard(weight) {
		return selection{}, unusableError("%s is one of several shards: ask for their index, *.safetensors.index.json", quote.Short(weight))
	}
	chosen := selection{weight: f[weight]}
	if !convert.IsBigVision(weight) {
		if _, ok := f[configFile]; !ok {
			return selection{}, unusableError("%s has no %s, so it is not a checkpoint of transformers", s.ID, configFile)
		}
		chosen.first = f.among(settings...)
	}
	chosen.first = append(chosen.first, f.among(tokenizerFiles...)...)
	if _, ok := f[tokenizerJSON]; !ok {
		model := f.among(tokenizerModel)
		if len(model) == 0 && p.Tokenizer == "" {
			return selection{}, unusableError("%s has no tokenizer: add --tokenizer with one (tokenizer.json, tokenizer.model or a folder with one), such as that of the model it was trained from", s.ID)
		}
		chosen.first = append(chosen.first, model...)
	}
	return chosen, nil
}

// standard returns the file of weights that stands for a repository.
func standard(s *hub.Snapshot, f files) (string, error) {
	var names []string
	for name := range f {
		if name != adapterWeights {
			names = append(names, name)
		}
	}
	weight, err := safetensors.Choose(names)
	if !errors.Is(err, safetensors.ErrNoWeights) {
		if err != nil {
			err = unusableError("%s: %w", s.ID, err)
		}
		return weight, err
	}
	switch archives := f.archives(); len(archives) {
	case 0:
		return "", unusable(s, f)
	case 1:
		return archives[0], nil
	}
	return "", unusableError("%s has several checkpoints of big_vision%s", s.ID, f.advice())
}

// archives returns the names of the npz files, sorted.
func (f files) archives() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f)), func(name string) bool { return !convert.IsBigVision(name) })
}

// advice ends a message with the files that can be asked for, some of them.
func (f files) advice() string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(f)), func(name string) bool {
		return CheckWeights(name) != nil || safetensors.IsShard(name) || name == adapterWeights
	})
	if len(names) == 0 {
		return ""
	}
	return ": ask for one of its files with --file (" + some(names, ", ") + ")"
}

// some lists the first of some names, and says how many others there are.
func some(names []string, separator string) string {
	const most = 4
	var list []string
	for _, name := range names[:min(len(names), most)] {
		list = append(list, quote.Line(name, quote.Max))
	}
	text := strings.Join(list, separator)
	if n := len(names) - most; n > 0 {
		text += fmt.Sprintf(" or %d others", n)
	}
	return text
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

// unusable says what a repository is that has neither safetensors nor npz files.
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
	return unusableError("%s has no weights (*.safetensors, *.npz) in revision %s", s.ID, quote.Short(s.Revision))
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
