package adapter

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"paligemma/internal/folder"
	"paligemma/internal/quote"
	"paligemma/internal/regular"
	"paligemma/internal/safetensors"
)

// Names of an adapter's files, as PEFT saves them.
const (
	ConfigName  = "adapter_config.json"
	WeightsName = "adapter_model.safetensors"
)

const (
	maxTensors = 1 << 16
	maxMessage = 480 // bytes of an error's text
)

// Adapter is an open adapter whose configuration and names were checked. What its
// tensors are to a model is checked by Resolve.
type Adapter struct {
	path    string // as it was named
	config  *config
	file    *safetensors.File
	updates map[string]*update // by the canonical name of the weight
	copies  []copied
}

// Open reads an adapter's configuration and the header of its weights. The path
// is the folder, or one of the two files in it. Every error names the path.
func Open(path string) (*Adapter, error) {
	a := &Adapter{path: path, updates: map[string]*update{}}
	if err := a.open(); err != nil {
		a.Close()
		return nil, a.fail(err)
	}
	return a, nil
}

func (a *Adapter) open() error {
	dir, weights, err := locate(a.path)
	if err != nil {
		return err
	}
	text, err := readConfig(filepath.Join(dir, ConfigName))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: copy the one that was saved with the weights into the folder", ConfigName)
	}
	if err != nil {
		return err
	}
	if a.config, err = parseConfig(text); err != nil {
		return fmt.Errorf("%s: %w", ConfigName, err)
	}
	if a.file, err = safetensors.Open(weights); err != nil {
		return err
	}
	switch n := len(a.file.Tensors); {
	case n == 0:
		return fmt.Errorf("%s holds no tensors: save the adapter again", filepath.Base(weights))
	case n > maxTensors:
		return fmt.Errorf("%s holds %d tensors, more than the limit of %d", filepath.Base(weights), n, maxTensors)
	}
	for _, t := range a.file.Tensors {
		if err := checkTensor(t); err != nil {
			return fmt.Errorf("tensor %s %w", shown(t.Name), err)
		}
	}
	return a.sort(a.file.Tensors)
}

// checkTensor refuses what cannot be weights.
func checkTensor(t safetensors.Tensor) error {
	switch {
	case t.Size == 0:
		return errors.New("is empty, as DeepSpeed ZeRO-3 leaves weights that were not gathered: gather them, and save the adapter again")
	case !safetensors.DecodeFloat32s(nil, t.DType, nil):
		return fmt.Errorf("is of type %s, want F32, F16, BF16 or F64: save the adapter again without quantizing it", t.DType)
	}
	return nil
}

// Close closes the weights. It may be called more than once.
func (a *Adapter) Close() error {
	if a.file == nil {
		return nil
	}
	file := a.file
	a.file = nil
	return file.Close()
}

// Path returns the path that the adapter was opened by.
func (a *Adapter) Path() string { return a.path }

// Name returns what to call the adapter: the name of its folder or, in a hub's cache, of
// the repository.
func (a *Adapter) Name() string {
	dir := a.path
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	return cmp.Or(folder.CachedName(dir), filepath.Base(dir))
}

// Base returns base_model_name_or_path: what the adapter was trained on.
func (a *Adapter) Base() string { return a.config.base }

// Unchanged returns an error if the weights were changed or replaced since Open.
func (a *Adapter) Unchanged() error { return a.file.Unchanged() }

// fail says of which adapter an error is, on one line of bounded length.
func (a *Adapter) fail(err error) error {
	path := quote.Line(a.path, 120)
	text := strings.ReplaceAll(err.Error(), strings.TrimSuffix(a.path, "/")+"/", "")
	text = strings.TrimPrefix(text, a.path+": ")
	return quote.Reword(err, fmt.Sprintf("adapter %s: %s", path, quote.Line(text, maxMessage-len(path)-len("adapter : "))))
}

// readConfig reads a configuration of limited size.
func readConfig(path string) (string, error) {
	f, err := regular.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", ConfigName, err)
	}
	if len(b) > maxConfigBytes {
		return "", fmt.Errorf("%s: more than %d bytes", ConfigName, maxConfigBytes)
	}
	if what := safetensors.DescribeForeign(b); what != "" {
		return "", fmt.Errorf("%s is %s", ConfigName, what)
	}
	return string(b), nil
}

// locate finds the folder of the configuration, and the weights.
func locate(path string) (dir, weights string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", explainMissing(path, err)
	}
	switch {
	case info.IsDir():
		if dir, err = folder.Snapshot(path); err != nil {
			return "", "", err
		}
	case !info.Mode().IsRegular():
		return "", "", errors.New("not a folder or a regular file: name the folder of an adapter")
	case filepath.Ext(path) == ".safetensors":
		return filepath.Dir(path), path, nil
	case filepath.Base(path) == ConfigName:
		dir = filepath.Dir(path)
	default:
		return "", "", foreignFile(path)
	}
	weights = filepath.Join(dir, WeightsName)
	if _, err := os.Stat(weights); !errors.Is(err, fs.ErrNotExist) {
		return dir, weights, err
	}
	return "", "", explainFolder(dir)
}

// pickled is what to do with weights as torch.save leaves them.
const pickled = "a PyTorch pickle, which can run code and is not read: save it as safetensors " +
	"(PEFT: PeftModel.from_pretrained(BASE, DIR).save_pretrained(DIR))"

// foreignFile says what a file is that is not an adapter's.
func foreignFile(path string) error {
	switch ext := filepath.Ext(path); {
	case slices.Contains([]string{".bin", ".pt", ".pth", ".ckpt"}, ext):
		return fmt.Errorf("this is %s", pickled)
	case ext == ".gguf":
		return errors.New("a GGUF file, not an adapter as PEFT saves it: name the folder with its adapter_config.json")
	}
	return fmt.Errorf("not an adapter: name the folder with its %s and %s", ConfigName, WeightsName)
}

// explainFolder says what a folder without an adapter's weights may be.
func explainFolder(dir string) error {
	names := folder.List(dir)
	var below []string
	for _, name := range names {
		if folder.Exists(filepath.Join(dir, name, ConfigName)) {
			below = append(below, name)
		}
	}
	switch {
	case slices.Contains(names, "adapter_model.bin"):
		return fmt.Errorf("adapter_model.bin is %s", pickled)
	case slices.Contains(names, ConfigName):
		return fmt.Errorf("%s is missing: download or copy it into the folder, too", WeightsName)
	case len(below) > 0:
		return fmt.Errorf("the adapters are in folders below it: name one of them (%s)", few(below))
	case slices.Contains(names, "config.json"):
		return fmt.Errorf("a whole checkpoint, not an adapter: it has no %s", ConfigName)
	}
	return fmt.Errorf("no %s and no %s in this folder: name the folder of an adapter as PEFT saves it", ConfigName, WeightsName)
}

// explainMissing says what a name may be that is not a file.
func explainMissing(path string, err error) error {
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case folder.IsHubName(path):
		return fmt.Errorf("no such file or folder; if it is a name on the hub, download it first (hf download %s --local-dir %s) and name the folder",
			quote.Line(path, quote.Max), quote.Line(filepath.Base(path), quote.Max))
	}
	return errors.New("no such file or folder: name the folder of an adapter")
}
