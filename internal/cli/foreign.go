package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/nearest"
	"paligemma/internal/preprocess"
	"paligemma/internal/quote"
	"paligemma/internal/regular"
	"paligemma/internal/safetensors"
)

// repositoryName is what a repository of models is called on a hub.
var repositoryName = regexp.MustCompile(`^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$`)

// foreignStart is how much of a file says what it is, in bytes.
const foreignStart = 64

// explainModel says what a file is that is not the model, or where the model may be,
// and what to type; else it returns err, the error of opening it.
func explainModel(path string, err error) error { return explainFile(path, err, true) }

// explainFile is explainModel, where safetensors may be wanted too.
func explainFile(path string, err error, onlyGGUF bool) error {
	what := ""
	if errors.Is(err, fs.ErrNotExist) {
		what = missingModel(path)
	} else if info, statErr := os.Stat(path); statErr == nil && info.Mode().IsRegular() {
		what = foreignFile(path, onlyGGUF)
	}
	if what == "" {
		return err
	}
	return &engine.ModelError{Err: fmt.Errorf("%s: %s", quote.Line(path, 2*quote.Max), what)}
}

// missingModel says where a model may be that does not exist; "" if nothing is known.
func missingModel(path string) string {
	if info, err := os.Stat(path + ".gguf"); err == nil && info.Mode().IsRegular() {
		return "no such file (did you mean " + quote.Line(path, 2*quote.Max) + ".gguf?)"
	}
	if !isPath(path) {
		if like := nearestModel(path); like != "" {
			return "no such file, and no model of that name" + nearest.DidYouMean(like)
		}
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil || !repositoryName.MatchString(path) {
		return ""
	}
	return fmt.Sprintf("no such file, and no model of that name (see `paligemma list`): `paligemma pull %s` gets it from the hub", path)
}

// foreignFile says what a file is by its first bytes, if it is of a kind that is often
// named in place of a model; else "".
func foreignFile(path string, onlyGGUF bool) string {
	start, err := regular.ReadStart(path, foreignStart)
	if err != nil || strings.HasPrefix(string(start), "GGUF") {
		return ""
	}
	if strings.HasPrefix(string(start), "PK") && convert.IsBigVision(path) {
		return "NumPy's arrays, as big_vision stores weights: `paligemma convert " + quote.Line(path, quote.Max) + " model.gguf` makes a model of them"
	}
	if what := safetensors.DescribeForeign(start); what != "" {
		return what
	}
	if strings.HasSuffix(path, ".safetensors") || isSafetensors(start) {
		if !onlyGGUF {
			return ""
		}
		return "a safetensors file: `paligemma convert " + quote.Line(filepath.Dir(path), quote.Max) + " model.gguf` makes a model of its folder"
	}
	what := describeKind(start)
	if strings.HasPrefix(what, pictureWords) {
		return what + ", not a model: pictures are for commands such as `paligemma caption`"
	}
	if what != "" {
		return what + ", not a model"
	}
	return ""
}

// isSafetensors reports whether a file begins as safetensors do: the length of a
// header in eight bytes, and JSON.
func isSafetensors(start []byte) bool {
	return len(start) > 8 && start[8] == '{' && start[6] == 0 && start[7] == 0
}

// otherKinds describe kinds of [preprocess.Kind] that are not pictures and that
// [safetensors.DescribeForeign] leaves out.
var otherKinds = map[string]string{
	"PDF": "a document (PDF)", "MP4": "a video (MP4)", "RIFF": "audio or video (RIFF)", "XML or SVG": "a document (XML or SVG)",
}

// pictureWords begin the descriptions of pictures.
const pictureWords = "a picture ("

// describeKind says what a file is by its first bytes; "" if they are not known.
func describeKind(start []byte) string {
	kind := preprocess.Kind(start)
	if kind == "" || len(start) == 0 {
		return ""
	}
	return cmp.Or(otherKinds[kind], pictureWords+kind+")")
}

// explainCheckpoint is explainModel of what convert takes.
func explainCheckpoint(path string, err error) error {
	info, statErr := os.Stat(path)
	if statErr != nil || !info.Mode().IsRegular() {
		return err
	}
	start, readErr := regular.ReadStart(path, foreignStart)
	if readErr != nil || safetensors.DescribeForeign(start) != "" || isSafetensors(start) {
		return err
	}
	ext := strings.ToLower(filepath.Ext(path))
	what := "not a checkpoint: name a folder with config.json and *.safetensors"
	if kind := describeKind(start); kind != "" {
		what = kind + ", " + what
	} else if ext == ".json" || ext == ".safetensors" || ext == ".npz" || ext == ".h5" {
		return err
	}
	return &engine.ModelError{Err: fmt.Errorf("%s: %s", quote.Line(path, 2*quote.Max), what)}
}
