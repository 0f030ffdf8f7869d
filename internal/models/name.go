// Package models keeps models by name: it pulls them from a hub, converts them, and
// finds them in the user's data folder. A model is one GGUF file, which also says
// where it comes from; its path is its name.
package models

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"paligemma/internal/convert"
	"paligemma/internal/hub"
	"paligemma/internal/quote"
)

// Name names a model: OWNER/NAME, then @REVISION where that is not the branch main,
// +OWNER/NAME for each adapter that is merged into it, and :TYPE.
type Name struct {
	Base     Source
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
func (s Source) String() string {
	if s.Revision == mainBranch {
		return s.Repository
	}
	return s.Repository + "@" + s.Revision
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
	text := n.Base.String()
	for _, a := range n.Adapters {
		text += "+" + a.String()
	}
	return text + ":" + n.Type
}

// ParseName reads OWNER/NAME[@REVISION][:TYPE], or the address of a repository's page.
// A type is "" where there is none.
func ParseName(text string) (Name, error) {
	rest := text
	for _, prefix := range []string{"https://", "hf.co/", "huggingface.co/"} {
		rest = strings.TrimPrefix(rest, prefix)
	}
	rest = strings.TrimSuffix(rest, "/")
	rest, typ, typed := strings.Cut(rest, ":")
	source, err := ParseSource(rest)
	if err != nil {
		return Name{}, err
	}
	n := Name{Base: source}
	if typed {
		info, err := convert.FindType(typ)
		if err != nil || typ == "" {
			return Name{}, fmt.Errorf("%s: %s is not a type: see `paligemma help pull`", quote.Short(text), quote.Short(typ))
		}
		n.Type = info.Name
	}
	return n, nil
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
