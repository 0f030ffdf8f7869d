// Package models keeps models by name: it pulls them from a hub, converts them, and
// finds them in the user's data folder. A model is one GGUF file, which also says
// where it comes from; its path is its name.
package models

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"paligemma/internal/convert"
	"paligemma/internal/hub"
	"paligemma/internal/quote"
)

// Name names a model: OWNER/NAME, then #FILE where that was asked for, @REVISION where
// that is not the branch main, +OWNER/NAME for each adapter that is merged into it, and
// :TYPE.
type Name struct {
	Base     Source
	File     string // of the weights; "": the one that stands for the repository
	Adapters []Adapter
	Type     string
}

// Source is a repository at a revision.
type Source struct {
	Repository string // OWNER/NAME
	Revision   string
}

// Adapter is an adapter and how much of it counts.
type Adapter struct {
	Source
	Scale float64
}

// mainBranch is the revision of names that have none.
const mainBranch = "main"

// String returns the source as names have it.
func (s Source) String() string { return s.Repository + s.suffix() }

// suffix returns what names have after the repository.
func (s Source) suffix() string {
	if s.Revision == mainBranch {
		return ""
	}
	return "@" + s.Revision
}

// String returns the adapter as names have it.
func (a Adapter) String() string {
	if a.Scale == 1 {
		return a.Source.String()
	}
	return fmt.Sprintf("%v*%v", a.Source, a.Scale)
}

// String returns the full name.
func (n Name) String() string {
	text := n.Base.Repository
	if n.File != "" {
		text += "#" + n.File
	}
	text += n.Base.suffix()
	for _, a := range n.Adapters {
		text += "+" + a.String()
	}
	return text + ":" + n.Type
}

// ParseName reads OWNER/NAME[#FILE][@REVISION][:TYPE], or the address of a repository's
// page. A type is "" where there is none.
func ParseName(text string) (Name, error) {
	rest := text
	for _, prefix := range []string{"https://", "hf.co/", "huggingface.co/"} {
		rest = strings.TrimPrefix(rest, prefix)
	}
	rest = strings.TrimSuffix(rest, "/")
	rest, typ, typed := strings.Cut(rest, ":")
	rest, file, filed := cutFile(rest)
	source, err := ParseSource(rest)
	if err == nil && filed {
		err = CheckWeights(file)
	}
	if err != nil {
		return Name{}, err
	}
	n := Name{Base: source, File: file}
	if typed {
		info, err := convert.FindType(typ)
		if err != nil || typ == "" {
			return Name{}, fmt.Errorf("%s: %s is not a type: see `paligemma help pull`", quote.Short(text), quote.Short(typ))
		}
		n.Type = info.Name
	}
	return n, nil
}

// cutFile takes #FILE out of OWNER/NAME[#FILE][@REVISION]. A revision may contain a #.
func cutFile(text string) (rest, file string, found bool) {
	repository, revision, revised := strings.Cut(text, "@")
	repository, file, found = strings.Cut(repository, "#")
	if revised {
		repository += "@" + revision
	}
	return repository, file, found
}

// weightsName fits the files of weights that can be asked for.
var weightsName = regexp.MustCompile(`^\w[\w.-]*\.(?i:npz|safetensors|safetensors\.index(\.\w+)*\.json)$`)

// CheckWeights refuses what is not the name of a file of weights.
func CheckWeights(file string) error {
	if !weightsName.MatchString(file) {
		return fmt.Errorf("%s is not a file of weights: want a name such as model.npz or model.safetensors", quote.Short(file))
	}
	return hub.CheckFile(file)
}

// ParseSource reads OWNER/NAME[@REVISION].
func ParseSource(text string) (Source, error) {
	repository, revision, found := strings.Cut(text, "@")
	if !found {
		revision = mainBranch
	}
	if err := hub.CheckID(repository); err != nil {
		if !strings.Contains(repository, "/") && strings.HasPrefix(repository, "paligemma") {
			return Source{}, fmt.Errorf("%s lacks its owner: did you mean google/%s?", quote.Short(text), quote.Line(repository, quote.Max))
		}
		return Source{}, err
	}
	return Source{repository, revision}, hub.CheckRevision(revision)
}

// ParseAdapter reads OWNER/NAME[@REVISION][:SCALE].
func ParseAdapter(text string) (Adapter, error) {
	rest, scale, scaled := strings.Cut(text, ":")
	source, err := ParseSource(rest)
	a := Adapter{source, 1}
	if err != nil || !scaled {
		return a, err
	}
	if a.Scale, err = strconv.ParseFloat(scale, 64); err != nil || !(a.Scale > -1e6 && a.Scale < 1e6) {
		return a, fmt.Errorf("%s: want OWNER/NAME:SCALE with a number, as user/adapter:0.5", quote.Short(text))
	}
	return a, nil
}

// Released returns the names of the repositories of the released models.
func Released() (names []string) {
	for _, r := range []struct{ family, sizes, kinds string }{
		{"paligemma", "3b", "mix pt"}, {"paligemma2", "3b 10b 28b", "mix pt"},
	} {
		for size := range strings.FieldsSeq(r.sizes) {
			for kind := range strings.FieldsSeq(r.kinds) {
				for _, pixels := range []string{"224", "448", "896"} {
					if kind == "pt" || pixels != "896" {
						names = append(names, fmt.Sprintf("google/%s-%s-%s-%s", r.family, size, kind, pixels))
					}
				}
			}
		}
	}
	return names
}

const (
	extension    = ".gguf"
	maxComponent = 240 // bytes of a file's name
)

// path returns where a model of the name lies below a folder.
func (n Name) path() (string, error) {
	owner, rest, _ := strings.Cut(strings.TrimSuffix(n.String(), ":"+n.Type), "/")
	folder := url.PathEscape(rest)
	if len(folder) > maxComponent {
		return "", errors.New("the model's name is too long for a folder: name fewer adapters, or shorter revisions")
	}
	return filepath.Join(owner, folder, n.Type+extension), nil
}

// nameOf returns the name of the model at a path below the folder; "" if it is none.
func nameOf(owner, folder, file string) string {
	rest, err := url.PathUnescape(folder)
	typ, isModel := strings.CutSuffix(file, extension)
	if err != nil || !isModel || typ == "" || strings.HasPrefix(file, ".") {
		return ""
	}
	return owner + "/" + rest + ":" + typ
}
