package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// metadata is what is needed of the output of cargo metadata.
type metadata struct {
	Packages []crate
	Resolve  struct {
		Root  string
		Nodes []struct {
			ID   string
			Deps []struct {
				Pkg   string
				Kinds []struct{ Kind *string } `json:"dep_kinds"`
			}
		}
	}
}

type crate struct {
	ID, Name, Version, License string
	Authors                    []string
	ManifestPath               string `json:"manifest_path"`
	Targets                    []struct{ Kind []string }
}

func parseMetadata(text string) (meta metadata, err error) {
	if err := json.Unmarshal([]byte(text), &meta); err != nil {
		return meta, fmt.Errorf("cargo metadata: %w", err)
	}
	return meta, nil
}

// crates returns Rust's library and the crates in the library of tokenizers. The
// package that binds them is a Go module, and is named as such.
func crates(o options) ([]component, error) {
	if !o.library {
		return nil, nil
	}
	dir, err := output("go", "list", "-m", "-f", "{{.Dir}}", "github.com/daulet/tokenizers")
	if err != nil {
		return nil, err
	}
	text, err := output("cargo", "metadata", "--format-version", "1", "--locked", "--quiet", "--filter-platform", o.target, "--manifest-path", filepath.Join(dir, "Cargo.toml"))
	if err != nil {
		return nil, err
	}
	meta, err := parseMetadata(text)
	if err != nil {
		return nil, err
	}
	sums, err := lockSums(filepath.Join(dir, "Cargo.lock"))
	if err != nil {
		return nil, err
	}
	list, err := rustItself()
	if err != nil {
		return nil, err
	}
	for _, p := range meta.linked() {
		c, err := p.component(sums[p.Name+" "+p.Version])
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// linked returns the crates that the root's library has in it: neither those of build
// scripts and tests, nor macros that run in the compiler.
func (m metadata) linked() []crate {
	seen := map[string]bool{m.Resolve.Root: true}
	var list []crate
	for queue := []string{m.Resolve.Root}; len(queue) > 0; queue = queue[1:] {
		for _, node := range m.Resolve.Nodes {
			if node.ID != queue[0] {
				continue
			}
			for _, dep := range node.Deps {
				normal := slices.ContainsFunc(dep.Kinds, func(k struct{ Kind *string }) bool { return k.Kind == nil })
				i := slices.IndexFunc(m.Packages, func(p crate) bool { return p.ID == dep.Pkg })
				if seen[dep.Pkg] || !normal || i < 0 || m.Packages[i].isMacro() {
					continue
				}
				seen[dep.Pkg] = true
				list, queue = append(list, m.Packages[i]), append(queue, dep.Pkg)
			}
		}
	}
	return list
}

func (p crate) isMacro() bool {
	return slices.ContainsFunc(p.Targets, func(t struct{ Kind []string }) bool { return slices.Contains(t.Kind, "proc-macro") })
}

// component returns a crate with its texts. What lies below its folder, such as a C
// library, may come under another license; that is added. A crate without any text
// gets that of the license it names.
func (p crate) component(sum string) (component, error) {
	c := component{
		name: p.Name, version: p.Version, purl: "pkg:cargo/" + p.Name + "@" + p.Version, sha256: sum,
		download: "https://crates.io/api/v1/crates/" + p.Name + "/" + p.Version + "/download",
		license:  strings.ReplaceAll(p.License, "/", " OR "),
	}
	if err := c.addAllTexts(filepath.Dir(p.ManifestPath)); err != nil {
		return c, err
	}
	var more []string
	for name, text := range c.texts {
		if path.Dir(name) == "." {
			continue
		}
		for _, license := range classify(string(text)) {
			if !strings.Contains(c.license, license) {
				more = append(more, license)
			}
		}
	}
	slices.Sort(more)
	if more = slices.Compact(more); len(more) > 0 {
		if strings.Contains(c.license, " OR ") {
			c.license = "(" + c.license + ")"
		}
		c.license += " AND " + strings.Join(more, " AND ")
	}
	switch {
	case c.license == "":
		return c, fmt.Errorf("crate %s %s names no license", c.name, c.version)
	case len(c.texts) == 0 && c.license == "MIT":
		c.setText("LICENSE", []byte("Copyright (c) "+strings.Join(p.Authors, ", ")+"\n\n"+mitText))
	case len(c.texts) == 0:
		return c, fmt.Errorf("crate %s %s comes without a text of its license, %s", c.name, c.version, c.license)
	}
	return c, nil
}

var lockEntry = regexp.MustCompile(`name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"`)

// lockSums returns the SHA-256 of the crates in a Cargo.lock, by name and version.
func lockSums(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, m := range lockEntry.FindAllStringSubmatch(string(text), -1) {
		sums[m[1]+" "+m[2]] = m[3]
	}
	return sums, nil
}

// rustItself returns Rust's library, whose licenses and those of its parts the toolchain has.
func rustItself() ([]component, error) {
	root, err := output("rustc", "--print", "sysroot")
	if err != nil {
		return nil, err
	}
	text, err := output("rustc", "--version")
	if err != nil {
		return nil, err
	}
	version := strings.Fields(text)[1]
	c := component{name: "rust-std", version: version, purl: "pkg:generic/rust-std@" + version, license: "MIT OR Apache-2.0", download: "https://static.rust-lang.org/dist/rustc-" + version + "-src.tar.xz"}
	dir := filepath.Join(root, "share", "doc", "rust")
	for _, name := range []string{"COPYRIGHT-library.html", "licenses/MIT.txt", "licenses/Apache-2.0.txt"} {
		if err := c.addText(dir, filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("licenses of Rust's library: %w: install a toolchain with rustup", err)
		}
	}
	return []component{c}, nil
}

var (
	ggmlVersion = regexp.MustCompile(`set\(GGML_VERSION_(?:MAJOR|MINOR|PATCH) ([0-9]+)\)`)
	ggmlCrate   = regexp.MustCompile(`(?m)^(llama-cpp-sys-2) = "=([0-9.]+)"$`)
)

// ggml returns the tensor library, with the notices that some of its files begin with.
func ggml(options) ([]component, error) {
	source, err := filepath.EvalSymlinks("build/ggml-src")
	if err != nil {
		return nil, err
	}
	build, err := os.ReadFile(filepath.Join(source, "CMakeLists.txt"))
	if err != nil {
		return nil, err
	}
	pin, err := os.ReadFile("third_party/ggml/Cargo.toml")
	if err != nil {
		return nil, err
	}
	var version []string
	for _, m := range ggmlVersion.FindAllStringSubmatch(string(build), -1) {
		version = append(version, m[1])
	}
	from := ggmlCrate.FindStringSubmatch(string(pin))
	if len(version) != 3 || from == nil {
		return nil, fmt.Errorf("the version of ggml is written otherwise than this script expects")
	}
	sums, err := lockSums("build/ggml-src-fetch/Cargo.lock")
	if err != nil {
		return nil, err
	}
	c := component{
		name: "ggml", version: strings.Join(version, "."), purl: "pkg:cargo/" + from[1] + "@" + from[2], sha256: sums[from[1]+" "+from[2]],
		download: "https://crates.io/api/v1/crates/" + from[1] + "/" + from[2] + "/download",
	}
	if err := c.addTexts(filepath.Dir(source), filepath.Dir(source)); err != nil {
		return nil, err
	}
	tiny, err := os.ReadFile(filepath.Join(source, "src", "ggml-cpu", "llamafile", "sgemm.cpp"))
	if err != nil {
		return nil, err
	}
	c.setText("LICENSE.tinyBLAS", leadingComment(tiny))
	if err := c.declare(); err != nil {
		return nil, err
	}
	return []component{c}, nil
}

// leadingComment returns the lines of // at the beginning of a source.
func leadingComment(source []byte) []byte {
	var out []byte
	for line := range bytes.Lines(source) {
		text, found := bytes.CutPrefix(line, []byte("//"))
		if !found {
			break
		}
		out = append(out, bytes.TrimPrefix(text, []byte(" "))...)
	}
	return out
}

// cxxRuntime returns the C++ library of GCC, and what else a compiler adds to a binary.
func cxxRuntime(o options) ([]component, error) {
	version, err := output(o.cxx, "-dumpfullversion")
	if err != nil {
		return nil, err
	}
	c := component{name: "gcc-runtime", version: version, purl: "pkg:generic/gcc@" + version, license: "GPL-3.0-or-later WITH GCC-exception-3.1", download: "https://ftp.gnu.org/gnu/gcc/gcc-" + version + "/gcc-" + version + ".tar.xz"}
	major, _, _ := strings.Cut(version, ".")
	// Debian's and Ubuntu's; Fedora's; Arch's.
	for _, pattern := range []string{"/usr/share/doc/gcc-" + major + "-base/copyright", "/usr/share/licenses/libstdc++*/COPYING*", "/usr/share/licenses/gcc-libs/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if err := c.addText(filepath.Dir(file), file); err != nil {
				return nil, err
			}
		}
	}
	const gpl = "/usr/share/common-licenses/GPL-3" // what Debian's text names
	if _, err := os.Stat(gpl); err == nil && len(c.texts) > 0 {
		if err := c.addText(filepath.Dir(gpl), gpl); err != nil {
			return nil, err
		}
	}
	if len(c.texts) == 0 {
		return nil, fmt.Errorf("no license of GCC's runtime below /usr/share: install its documentation")
	}
	return []component{c}, nil
}
