package convert

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"paligemma/internal/adapter"
	"paligemma/internal/folder"
	"paligemma/internal/quote"
	"paligemma/internal/regular"
	"paligemma/internal/safetensors"
	"paligemma/internal/units"
)

// hubURL fits the address of a repository, or of something in it.
var hubURL = regexp.MustCompile(`^(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)`)

// checkpointDir is the folder of a checkpoint's JSON files, whichever way the
// checkpoint was named.
func checkpointDir(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", explainMissing(path, err)
	}
	if info.IsDir() {
		return folder.Snapshot(path)
	}
	switch name := filepath.Base(path); {
	case !info.Mode().IsRegular():
		return "", errors.New("not a folder or a regular file: name the folder of a checkpoint")
	case safetensors.IsShard(name):
		return "", errors.New("one of several shards of a checkpoint: name their folder")
	case strings.HasSuffix(name, ".safetensors"), strings.HasSuffix(name, ".safetensors.index.json"):
		return filepath.Dir(path), nil
	case slices.Contains([]string{".bin", ".pt", ".pth", ".ckpt", ".h5", ".keras", ".msgpack", ".onnx"}, filepath.Ext(name)):
		return "", errors.New(weightsKinds.of(name))
	case strings.HasSuffix(name, ".json") && !strings.Contains(name, "index"):
		return "", errors.New("one file of a checkpoint: name its folder")
	}
	if half := halfOfPair(path); half != "" {
		return "", errors.New(half)
	}
	if what := safetensors.DescribeForeign(firstBytes(path)); what != "" {
		return "", fmt.Errorf("this is %s", what)
	}
	return filepath.Dir(path), nil
}

// firstBytes reads the start of a file, as far as that can be done.
func firstBytes(path string) []byte {
	f, err := regular.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, 64)
	n, _ := io.ReadFull(f, b)
	return b[:n]
}

// explainMissing says what a name may be that is not a file.
func explainMissing(path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch url := hubURL.FindStringSubmatch(path); {
	case url != nil:
		return because(err, "an address, not a folder: %s", download(url[1]))
	case strings.Contains(path, "://"):
		return because(err, "an address, not a folder: download the checkpoint and name its folder")
	case folder.IsHubName(path):
		return because(err, "no such file or folder; if it is a name on the hub, %s", download(path))
	}
	return because(err, "no such file or folder: name the folder of a checkpoint")
}

// download is what to type for a repository of the hub.
func download(name string) string {
	return fmt.Sprintf("`paligemma pull %s` downloads and converts it", shown(name))
}

// kind is a sort of file that stands where safetensors are wanted.
type kind struct {
	match *regexp.Regexp
	what  string
}

type kinds []kind

// of says what a file of that name is; "" if it is none of these.
func (k kinds) of(name string) string {
	for _, kind := range k {
		if kind.match.MatchString(name) {
			return kind.what
		}
	}
	return ""
}

// forTransformers is the way out where weights are of another framework.
const forTransformers = "download the model for transformers (such as hf download google/paligemma-3b-mix-224)"

// weightsKinds are weights of other kinds, the more telling first.
var weightsKinds = kinds{
	{regexp.MustCompile(`^(adapter_model\.(safetensors|bin)|adapter_config\.json)$`),
		"a LoRA adapter, not a whole checkpoint: name the checkpoint of its base model, and the adapter with --lora (paligemma convert BASE OUT.gguf --lora ADAPTER)"},
	{regexp.MustCompile(`^zero_to_fp32\.py$|^global_step\d+$`),
		"a DeepSpeed ZeRO checkpoint, whose weights are in parts: gather them first (python zero_to_fp32.py . . --safe_serialization)"},
	{regexp.MustCompile(`^pytorch_model_fsdp|\.distcp$`),
		"an FSDP checkpoint, whose weights are in parts: gather them first (accelerate merge-weights)"},
	{regexp.MustCompile(`\.(bin|pt|pth|ckpt)$`),
		"PyTorch pickles, which can run code and are not read: save them as safetensors first (transformers: from_pretrained(DIR), then save_pretrained(OUT))"},
	{regexp.MustCompile(`\.npz$`),
		"a checkpoint of big_vision: name the file itself"},
	{regexp.MustCompile(`^(_METADATA|_CHECKPOINT_METADATA|manifest\.ocdbt|ocdbt\.process_\d+)$`),
		"an Orbax checkpoint of JAX, which is not read: save its parameters with numpy.savez by big_vision's names, or " + forTransformers},
	{regexp.MustCompile(`\.(h5|keras)$`),
		"weights of Keras, which are not read: " + forTransformers},
	{regexp.MustCompile(`\.msgpack$`),
		"weights of Flax, which are not read: save them as safetensors first (transformers 4: from_pretrained(DIR, from_flax=True), then save_pretrained(OUT)), or " + forTransformers},
	{regexp.MustCompile(`\.onnx$`),
		"a graph of ONNX, which is not read: " + forTransformers},
	{regexp.MustCompile(`\.gguf$`),
		"a GGUF model already: use it with --model, or change its type with `paligemma quantize`"},
}

// trainerState are pickles that a trainer leaves and that hold no weights.
var trainerState = regexp.MustCompile(`^(training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state|tokenizer)[\w.]*\.(bin|pt|pth|pkl)$`)

// explainFolder says what a folder is that lacks a file of a checkpoint. err
// tells of the file, where the folder has safetensors or nothing of note.
func explainFolder(dir string, err error) error {
	names := folder.List(dir)
	if name, target := brokenLink(dir, names); name != "" {
		return because(err, "%s is a link to %s, which is gone: download the checkpoint again", shown(name), shown(target))
	}
	if slices.Contains(names, adapter.ConfigName) && !slices.Contains(names, configFile) {
		return because(err, "%s", weightsKinds.of(adapter.ConfigName))
	}
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".safetensors") && n != adapter.WeightsName }) {
		return err
	}
	for _, k := range weightsKinds {
		for _, name := range names {
			if k.match.MatchString(name) && !trainerState.MatchString(name) {
				return because(err, "it holds no safetensors, but %s: %s", shown(name), k.what)
			}
		}
	}
	if sub := checkpointsIn(dir, names); len(sub) > 0 {
		return because(err, "it holds checkpoints in folders of its own (%s): name one of them", few(sub))
	}
	if !slices.Contains(names, configFile) {
		return because(err, "it holds no config.json and no weights: name the folder of a checkpoint")
	}
	if errors.Is(err, safetensors.ErrNoWeights) {
		return because(err, "it holds no weights (model.safetensors or shards of it): download them into the folder, too, or name the folder that has them")
	}
	return err
}

// brokenLink finds a symbolic link whose file is gone.
func brokenLink(dir string, names []string) (name, target string) {
	for _, name := range names {
		path := filepath.Join(dir, name)
		target, err := os.Readlink(path)
		if err != nil {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return name, target
		}
	}
	return "", ""
}

// checkpointsIn lists the subfolders that look like checkpoints.
func checkpointsIn(dir string, names []string) []string {
	var found []string
	for _, name := range names {
		for _, file := range []string{configFile, adapter.ConfigName} {
			if folder.Exists(filepath.Join(dir, name, file)) {
				found = append(found, name)
				break
			}
		}
	}
	return found
}

// unappliedAdapter refuses a folder with the files of an adapter and none of a
// whole model.
func unappliedAdapter(checkpoint, dir string) error {
	if filepath.Base(checkpoint) == adapter.WeightsName || checkpoint == dir && adapter.IsAlone(folder.List(dir)) {
		return errors.New(weightsKinds.of(adapter.WeightsName))
	}
	return nil
}

// explainWeights says why the weights of a folder cannot be opened.
func explainWeights(dir string, err error) error {
	if !errors.Is(err, safetensors.ErrNoWeights) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return explainFolder(dir, err)
}

// unused notes the files of weights next to those that are read.
func unused(dir string, ckpt *safetensors.Checkpoint) []string {
	read := map[string]bool{}
	for _, e := range ckpt.Tensors() {
		read[filepath.Base(e.Path)] = true
	}
	var others, adapters []string
	for _, name := range folder.List(dir) {
		switch {
		case name == adapter.WeightsName || name == "adapter_model.bin":
			adapters = append(adapters, name)
		case strings.HasSuffix(name, ".safetensors") && !read[name]:
			others = append(others, name)
		}
	}
	var notes []string
	if len(adapters) > 0 {
		notes = append(notes, fmt.Sprintf("the adapter in the folder (%s) is not applied: --lora does that", few(adapters)))
	}
	if len(others) > 0 {
		notes = append(notes, fmt.Sprintf("%s in the folder not read: %s", units.Count(len(others), "file of weights is", "files of weights are"), few(others)))
	}
	return notes
}

// because says in other words what an error means.
func because(err error, format string, args ...any) error {
	return quote.Reword(err, fmt.Sprintf(format, args...))
}

// Bounds of an error's text in bytes: names in it come from files.
const (
	maxMessage = 460
	maxPath    = 120
)

// refuse says of which checkpoint an error is. The checkpoint's own path is not
// repeated in it, and nothing in it may break a line.
func refuse(checkpoint string, err error) error {
	text := strings.TrimPrefix(err.Error(), checkpoint+": ")
	text = strings.ReplaceAll(text, strings.TrimSuffix(checkpoint, "/")+"/", "")
	path := quote.Line(checkpoint, maxPath)
	return because(err, "convert %s: %s", path, quote.Line(text, maxMessage-len(path)))
}
