package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// inSources names texts that are not called like licenses, by module.
var inSources = map[string][]string{
	"golang.org/x/image": {"font/gofont/ttfs/README"}, // the Go fonts
}

// linked returns everything foreign that the binary contains, by name.
func linked(o options) ([]component, error) {
	return collect(o, goModules, goItself, crates, ggml, cxxRuntime)
}

// collect returns the components of several parts, by name.
func collect(o options, parts ...func(options) ([]component, error)) (all []component, err error) {
	for _, part := range parts {
		more, err := part(o)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	slices.SortFunc(all, func(a, b component) int { return strings.Compare(a.purl+a.name, b.purl+b.name) })
	return all, nil
}

// goPackage is what is needed of a package in the output of go list.
type goPackage struct {
	Dir    string
	Module *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// goModules returns the modules of the packages that are linked, with the licenses of
// each package's folder and of those above it. They must be those that the binary names.
func goModules(o options) ([]component, error) {
	packages, err := goList(o)
	if err != nil {
		return nil, err
	}
	modules := map[string]*component{}
	for _, p := range packages {
		m := p.Module
		if m == nil || m.Main {
			continue
		}
		c := modules[m.Path]
		if c == nil {
			c = &component{
				name: m.Path, version: m.Version, purl: "pkg:golang/" + m.Path + "@" + m.Version,
				download: "https://proxy.golang.org/" + m.Path + "/@v/" + m.Version + ".zip",
			}
			modules[m.Path] = c
		}
		for dir := p.Dir; strings.HasPrefix(dir, m.Dir); dir = filepath.Dir(dir) {
			if err := c.addTexts(m.Dir, dir); err != nil {
				return nil, err
			}
		}
		for _, name := range inSources[m.Path] {
			if err := c.addText(m.Dir, filepath.Join(m.Dir, name)); err != nil {
				return nil, err
			}
		}
	}
	if err := sameModules(o, modules); err != nil {
		return nil, err
	}
	var list []component
	for _, c := range modules {
		if err := c.declare(); err != nil {
			return nil, err
		}
		list = append(list, *c)
	}
	return list, nil
}

// goList asks go for the packages of the binary.
func goList(o options) ([]goPackage, error) {
	cmd := exec.Command("go", "list", "-tags", o.tags, "-deps", "-json=Dir,Module", "./cmd/paligemma")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+o.arch, "CGO_ENABLED=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		packages = append(packages, p)
	}
}

// sameModules holds the modules against those that the linker wrote into the binary.
func sameModules(o options, modules map[string]*component) error {
	binary := o.binary()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	for _, m := range info.Deps {
		if c := modules[m.Path]; c == nil || c.version != m.Version {
			return fmt.Errorf("%s has %s %s, which go list does not name: build it anew", binary, m.Path, m.Version)
		}
	}
	if len(info.Deps) != len(modules) {
		return fmt.Errorf("%s names %d modules, go list %d: build it anew", binary, len(info.Deps), len(modules))
	}
	return nil
}

// goItself returns Go's runtime and library.
func goItself(options) ([]component, error) {
	root, err := output("go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	version := strings.TrimPrefix(runtime.Version(), "go")
	c := component{name: "go", version: version, purl: "pkg:golang/stdlib@" + version, download: "https://go.dev/dl/go" + version + ".src.tar.gz"}
	if err := c.addTexts(root, root); err != nil {
		return nil, err
	}
	if err := c.declare(); err != nil {
		return nil, err
	}
	return []component{c}, nil
}

// output runs a program and returns what it printed, without spaces around it.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
