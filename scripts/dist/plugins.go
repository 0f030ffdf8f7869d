package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// nvidiaTerms is the license of CUDA's toolkit, in bills of materials.
const nvidiaTerms = "LicenseRef-NVIDIA-CUDA-Toolkit"

// backend is what a plug-in has in it next to ggml, what it asks the system for, and
// what makes it.
type backend struct {
	title     string
	parts     func(options) ([]component, error)
	libraries *regexp.Regexp
	compiler  func(options) tool
	note      func(log string) (string, error) // what PLUGINS.md says of its code, by the log of CMake
}

var backends = map[string]backend{
	"cuda": {
		"NVIDIA GPUs (CUDA)", cudaParts, regexp.MustCompile(`^lib(cuda\.so\.1|cublas(Lt)?\.so\.[0-9]+)$`),
		func(o options) tool { return tool{filepath.Join(o.cuda, "bin", "nvcc"), "release "} }, architectures,
	},
	"vulkan": {
		"other GPUs (Vulkan)", vulkanParts, regexp.MustCompile(`^libvulkan\.so\.1$`),
		func(options) tool { return tool{"glslc", "shaderc "} }, shaders,
	},
}

var (
	builtFor     = regexp.MustCompile(`(?m)^-- Using CMAKE_CUDA_ARCHITECTURES=(\S+)`)
	architecture = regexp.MustCompile(`^([0-9]+)([0-9])[af]?(-real|-virtual)?$`)
)

// architectures says which cards the code of a plug-in for CUDA is for.
func architectures(log string) (string, error) {
	match := builtFor.FindStringSubmatch(log)
	if match == nil {
		return "", fmt.Errorf("the log of CUDA's plug-in does not name the architectures that it was built for")
	}
	var list []string
	var later string
	for name := range strings.SplitSeq(match[1], ";") {
		parts := architecture.FindStringSubmatch(name)
		if parts == nil { // such as all-major
			list = append(list, name)
			continue
		}
		capability := parts[1] + "." + parts[2]
		if parts[3] != "-real" {
			capability += " and later"
			later = " For later ones the driver compiles it when it is first used, which takes a while, and keeps what it made."
		}
		list = append(list, capability)
	}
	return "Its code is for GPUs of compute capability " + strings.Join(list, ", ") + "." + later, nil
}

var unknownToGlslc = regexp.MustCompile(`(?m)^-- (GL_\w+) not supported by glslc`)

// shaders says what the compiler of shaders did not know.
func shaders(log string) (string, error) {
	if !strings.Contains(log, "supported by glslc") {
		return "", fmt.Errorf("the log of Vulkan's plug-in does not name what glslc supports")
	}
	var missing []string
	for _, m := range unknownToGlslc.FindAllStringSubmatch(log, -1) {
		missing = append(missing, m[1])
	}
	if missing == nil {
		return "", nil
	}
	return "Its shaders were compiled without " + strings.Join(missing, ", ") + ", which the compiler did not know: GPUs that have these are slower than with a plug-in that a newer glslc made.", nil
}

// pluginFolders are where plug-ins look for libraries before the system does.
var pluginFolders = regexp.MustCompile(`^(\$ORIGIN|/usr/local/cuda(-[0-9]+)?/lib64)$`)

// pluginName matches the path of a plug-in in the archive.
var pluginName = regexp.MustCompile(`^lib/paligemma/libggml-([a-z]+)-[0-9a-f]{12}\.so$`)

// pluginText is what PLUGINS.md says of a plug-in.
type pluginText struct{ File, Title, Note, Glibc, GCC, Libraries, Folders string }

// completePlugins adds to plug-ins their licenses, a bill of materials and instructions.
func (t tree) completePlugins(o options) error {
	var products []product
	var texts []pluginText
	tools := []tool{{o.cxx, ""}, {"cmake", ""}}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		kind, b, err := backendOf(name)
		if err != nil {
			return err
		}
		text, err := b.describe(filepath.Join(o.stage, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		log, err := os.ReadFile(filepath.Join("build", "plugin-"+kind, "cmake.log"))
		if err != nil {
			return err
		}
		if text.Note, err = b.note(string(log)); err != nil {
			return err
		}
		parts, err := collect(o, ggml, cxxRuntime, b.parts)
		if err != nil {
			return err
		}
		file := component{name: path.Base(name), version: o.version, license: "Apache-2.0", download: none, sha256: t[name].sha256()}
		products, texts, tools = append(products, product{file, "LIBRARY", parts}), append(texts, text), append(tools, b.compiler(o))
	}
	for _, p := range products {
		t.addLicenses(p.parts)
	}
	if err := t.addText("PLUGINS.md", pluginsText, map[string]any{"Version": o.version, "Arch": o.arch, "Plugins": texts}); err != nil {
		return err
	}
	madeBy, err := versions(tools...)
	if err != nil {
		return err
	}
	return t.addBill(o, "sbom-plugins.spdx.json", products, madeBy)
}

// backendOf returns the backend of a plug-in, and what it is called, by its path in the archive.
func backendOf(name string) (kind string, b backend, err error) {
	match := pluginName.FindStringSubmatch(name)
	if match == nil {
		return "", b, fmt.Errorf("%s is not called as plug-ins are", name)
	}
	b, known := backends[match[1]]
	if !known {
		return "", b, fmt.Errorf("%s: what is linked into it is unknown to this script: extend backends", name)
	}
	return match[1], b, nil
}

// describe returns what is to be said of a plug-in, which must name nothing of this machine.
func (b backend) describe(file string) (pluginText, error) {
	libraries, folders, err := dynamic(file)
	if err != nil {
		return pluginText{}, err
	}
	matching := func(list []string, pattern *regexp.Regexp) []string {
		return slices.DeleteFunc(list, func(s string) bool { return !pattern.MatchString(s) })
	}
	libraries, folders = matching(libraries, b.libraries), matching(folders, pluginFolders)
	n, err := requirements(file, slices.Concat(systemLibraries, libraries), folders)
	if err != nil {
		return pluginText{}, err
	}
	return pluginText{
		File: filepath.Base(file), Title: b.title, Glibc: n.glibc, GCC: n.gcc,
		Libraries: strings.Join(libraries, ", "), Folders: strings.Join(folders, ", "),
	}, nil
}

// cudaParts returns what the compiler takes from CUDA's toolkit: the runtime library and
// headers, and the C++ core libraries, of which ggml's kernels take templates.
func cudaParts(o options) ([]component, error) {
	include := filepath.Join(o.cuda, "include")
	number, err := defined(filepath.Join(include, "cuda_runtime_api.h"), "CUDART_VERSION")
	if err != nil {
		return nil, err
	}
	runtime := component{name: "cuda-runtime", version: fmt.Sprintf("%d.%d", number/1000, number%1000/10), license: nvidiaTerms, download: none}
	runtime.purl = "pkg:generic/cuda-runtime@" + runtime.version
	terms, err := cudaTerms(o.cuda, runtime.version)
	if err != nil {
		return nil, err
	}
	runtime.terms = string(terms)
	runtime.setText("EULA.txt", terms)
	// CUDA 13 has them in a folder of their own.
	core := filepath.Join(include, "cccl")
	if _, err := os.Stat(core); err != nil {
		core = include
	}
	number, err = defined(filepath.Join(core, "cuda", "std", "__cccl", "version.h"), "CCCL_VERSION")
	if err != nil {
		return nil, err
	}
	cccl := component{name: "cccl", version: fmt.Sprintf("%d.%d.%d", number/1000000, number/1000%1000, number%1000), download: none,
		license: "Apache-2.0 WITH LLVM-exception AND Apache-2.0 AND BSD-3-Clause AND BSL-1.0"}
	cccl.purl = "pkg:github/NVIDIA/cccl@v" + cccl.version
	for _, folder := range []string{"cub", "thrust", "cuda", "nv"} {
		notices, err := notices(filepath.Join(core, folder))
		if err != nil {
			return nil, err
		}
		cccl.setText("NOTICES-"+folder, notices)
	}
	// That of thrust is Apache's, as is this repository's.
	if err := cccl.addText(".", "LICENSE"); err != nil {
		return nil, err
	}
	return []component{runtime, cccl}, nil
}

// cudaTerms returns NVIDIA's license of a toolkit: from its folder or, where it was
// installed by packages, from their documentation.
func cudaTerms(dir, version string) ([]byte, error) {
	documentation := "/usr/share/doc/cuda-cudart-dev-" + strings.ReplaceAll(version, ".", "-")
	for _, file := range []string{filepath.Join(dir, "EULA.txt"), filepath.Join(dir, "LICENSE"), filepath.Join(documentation, "copyright"), filepath.Join(documentation, "LICENSE")} {
		if text, err := os.ReadFile(file); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("no license of CUDA %s: put NVIDIA's into %s (scripts/cudatoolkit does)", version, filepath.Join(dir, "EULA.txt"))
}

// defined returns the number that a header defines a name as.
func defined(header, name string) (n int, err error) {
	text, err := os.ReadFile(header)
	if err != nil {
		return 0, err
	}
	match := regexp.MustCompile(`(?m)^#\s*define\s+` + name + `\s+([0-9]+)`).FindSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("%s does not define %s", header, name)
	}
	_, err = fmt.Sscan(string(match[1]), &n)
	return n, err
}

// commentMarks are what comments have before and around their text.
var commentMarks = regexp.MustCompile(`(?m)^[ \t]*(?:///?|/?\*+/?|)[ \t]?|[ \t*/]+$`)

// notices returns the comments about copyright that the headers below a folder begin
// with, each once, in the order of the files.
func notices(dir string) ([]byte, error) {
	seen := map[string]bool{}
	var out bytes.Buffer
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, comment := range comments(text) {
			notice := strings.TrimSpace(commentMarks.ReplaceAllString(comment, ""))
			if key := strings.Join(strings.Fields(notice), " "); strings.Contains(key, "Copyright") && !seen[key] {
				seen[key] = true
				fmt.Fprintf(&out, "%s\n\n%s\n\n", strings.Repeat("-", 72), notice)
			}
		}
		return nil
	})
	if err == nil && out.Len() == 0 {
		err = fmt.Errorf("no notice of copyright in the headers of %s", dir)
	}
	return out.Bytes(), err
}

// comments returns the comments before a header's first line of code: lines of // that
// follow each other, and each of the other kind. Some are empty.
func comments(header []byte) (list []string) {
	var comment strings.Builder
	end := func() {
		list = append(list, comment.String())
		comment.Reset()
	}
	inside := false
	for line := range bytes.Lines(header) {
		text := bytes.TrimSpace(line)
		if opens := bytes.HasPrefix(text, []byte("/*")); opens && !inside {
			end()
			inside = true
		}
		lone := bytes.HasPrefix(text, []byte("//"))
		if !inside && !lone {
			end()
			if len(text) > 0 {
				break
			}
			continue
		}
		comment.Write(line)
		if inside && bytes.Contains(text, []byte("*/")) {
			inside = false
			end()
		}
	}
	end()
	return list
}

var vulkanCrate = regexp.MustCompile(`(?m)^(llama_cpp_sys) = "=([0-9.]+)"$`)

// vulkanParts returns Vulkan's headers, of which the C++ ones have code.
func vulkanParts(options) ([]component, error) {
	include, err := filepath.EvalSymlinks("build/vulkan-src")
	if err != nil {
		return nil, err
	}
	number, err := defined(filepath.Join(include, "vulkan", "vulkan_core.h"), "VK_HEADER_VERSION")
	if err != nil {
		return nil, err
	}
	pin, err := os.ReadFile("third_party/vulkan/Cargo.toml")
	if err != nil {
		return nil, err
	}
	from := vulkanCrate.FindStringSubmatch(string(pin))
	if from == nil {
		return nil, fmt.Errorf("the version of Vulkan's headers is written otherwise than this script expects")
	}
	sums, err := lockSums("build/vulkan-src-fetch/Cargo.lock")
	if err != nil {
		return nil, err
	}
	c := component{
		name: "Vulkan-Headers", version: fmt.Sprintf("1.3.%d", number), license: "Apache-2.0 OR MIT",
		purl: "pkg:cargo/" + from[1] + "@" + from[2], sha256: sums[from[1]+" "+from[2]],
		download: "https://crates.io/api/v1/crates/" + from[1] + "/" + from[2] + "/download",
	}
	root := filepath.Dir(include)
	files, err := filepath.Glob(filepath.Join(root, "LICENSES", "*.txt"))
	if err != nil {
		return nil, err
	}
	for _, file := range append(files, filepath.Join(root, "LICENSE.md")) {
		if err := c.addText(root, file); err != nil {
			return nil, err
		}
	}
	return []component{c}, nil
}
