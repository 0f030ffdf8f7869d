package main

import (
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// machine finds the driver, CUDA's libraries, and the device.
func (c *check) machine(ctx context.Context) error {
	c.absent = "no device was looked for" // until it is found
	c.host()
	c.driver(ctx)
	c.findLibraries(ctx)
	version, err := c.works(ctx, c.paligemma("version"))
	if err != nil {
		return err
	}
	c.report.Version = strings.Join(nonEmpty(version.stdout), ", ")
	if err := c.devices(ctx); err != nil {
		return err
	}
	if c.absent == "" && c.wants("logits") {
		c.beginFiles(ctx)
	}
	if c.absent == "" && c.wants("marks") {
		c.beginMarks(ctx)
	}
	return nil
}

// driver asks nvidia-smi for the card.
func (c *check) driver(ctx context.Context) {
	f := finding{Part: "machine", What: "NVIDIA driver", Verdict: leftOut}
	defer func() { c.add(f) }()
	smi, err := exec.LookPath("nvidia-smi")
	if err != nil {
		f.Why = "nvidia-smi is not there"
		return
	}
	e, err := c.exec(ctx, child{path: smi, args: []string{"--query-gpu=name,driver_version,memory.total,memory.free", "--format=csv,noheader"}})
	cards := nonEmpty(e.stdout)
	if err != nil || e.code != 0 || len(cards) == 0 {
		f.Why = "nvidia-smi: " + e.lastLine()
		return
	}
	f.Got, f.Verdict = strings.Join(cards, "; "), shown
	if fields := strings.Split(cards[0], ","); len(fields) > 1 {
		c.report.Driver = strings.TrimSpace(fields[1])
	}
}

// devices looks for the device that is to be checked.
func (c *check) devices(ctx context.Context) error {
	e, err := c.works(ctx, c.paligemma("devices", "--format", "jsonl", "--verbose"))
	if err != nil {
		return err
	}
	var names, shownNames []string
	for _, line := range nonEmpty(e.stdout) {
		var d struct{ Name, Description string }
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			return fmt.Errorf("paligemma devices: %w", err)
		}
		if d.Name == c.device && c.onGPU() {
			c.report.GPU = d.Description
		}
		names, shownNames = append(names, d.Name), append(shownNames, fmt.Sprintf("%s (%s)", d.Name, d.Description))
	}
	f := finding{Part: "machine", What: "paligemma devices", Got: strings.Join(shownNames, "; "), Why: strings.Join(nonEmpty(e.stderr), "; ")}
	if c.absent = ""; !slices.Contains(names, c.computes()) {
		c.absent = "no device " + c.computes()
		f.Verdict = leftOut
	}
	c.add(f)
	return nil
}

// findLibraries finds the folders of the libraries that the plug-in wants and the system's
// loader does not find: CUDA's own, and those of Python's packages.
func (c *check) findLibraries(ctx context.Context) {
	plugins, _ := filepath.Glob(filepath.Join(c.programs, "bin", "libggml-cuda-*.so"))
	if len(plugins) == 0 {
		c.add(finding{Part: "machine", What: "plug-in for CUDA", Verdict: leftOut, Why: "libggml-cuda-*.so is not next to paligemma: make CUDA=1"})
		return
	}
	missing := c.notFound(ctx, plugins[0])
	if len(missing) == 0 {
		return
	}
	folders := c.libraryFolders(ctx)
	for _, name := range missing {
		f := findLibrary(name, folders)
		if f.Got != "" && !slices.Contains(c.libraries, f.Got) {
			c.libraries = append(c.libraries, f.Got)
		}
		c.add(f)
	}
}

// findLibrary notes the first folder that has a library, or where there is another version.
func findLibrary(name string, folders []string) finding {
	f := finding{Part: "machine", What: name}
	others := ""
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
			f.Got = folder
			return f
		}
		stem, _, _ := strings.Cut(name, ".so.")
		if found, _ := filepath.Glob(filepath.Join(folder, stem+".so.*")); len(found) > 0 && others == "" {
			others = found[0]
		}
	}
	f.Verdict, f.Why = leftOut, "not found in CUDA's folders nor among Python's packages"
	if others != "" {
		f.Why += "; the plug-in would have to be built with the toolkit of " + others
	}
	return f
}

// notFound asks the loader of the program which libraries of a plug-in it does not find.
func (c *check) notFound(ctx context.Context, plugin string) (names []string) {
	f, err := elf.Open(filepath.Join(c.programs, "bin", "paligemma"))
	if err != nil {
		return nil
	}
	defer f.Close()
	interpreter := f.Section(".interp")
	if interpreter == nil {
		return nil
	}
	loader, err := interpreter.Data()
	if err != nil {
		return nil
	}
	trace := child{path: strings.TrimRight(string(loader), "\x00"), args: []string{plugin}, env: []string{"LD_TRACE_LOADED_OBJECTS=1"}} // as ldd does
	e, _ := c.exec(ctx, trace)
	for _, line := range nonEmpty(e.stdout) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), " => not found"); ok {
			names = append(names, name)
		}
	}
	return names
}

// libraryFolders lists where CUDA's libraries may be, the driver's first: one that is newer
// than it (compat) would not do.
func (c *check) libraryFolders(ctx context.Context) []string {
	patterns := []string{"/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/x86_64-linux-gnu/nvidia/current"}
	for _, home := range []string{os.Getenv("CUDA_HOME"), "/usr/local/cuda", "/usr/local/cuda-*", "/opt/cuda", os.Getenv("CONDA_PREFIX")} {
		if home != "" {
			patterns = append(patterns, filepath.Join(home, "lib64"), filepath.Join(home, "lib"), filepath.Join(home, "targets", "*-linux", "lib"))
		}
	}
	e, _ := c.exec(ctx, child{path: c.python, args: []string{"-c", "import sys; print('\\n'.join(sys.path))"}})
	for _, folder := range nonEmpty(e.stdout) {
		patterns = append(patterns, filepath.Join(folder, "nvidia", "*", "lib"), filepath.Join(folder, "torch", "lib"))
	}
	patterns = append(patterns, "/usr/local/cuda/compat")
	var folders []string
	for _, p := range patterns {
		all, _ := filepath.Glob(p)
		folders = append(folders, all...)
	}
	return folders
}

// findTorch notes what is missing to run transformers.
func (c *check) findTorch(ctx context.Context) error {
	f := finding{Part: "machine", What: "torch and transformers"}
	if !c.wants("peers") && !c.wants("memory") {
		return nil
	}
	c.torch = "torch and transformers were not found in time"
	script := "import torch, transformers, PIL; print(torch.__version__, transformers.__version__, torch.cuda.is_available())"
	e, err := c.exec(ctx, child{path: c.python, args: []string{"-c", script}})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fields := strings.Fields(lastOf(e.stdout, ""))
	switch {
	case err != nil:
		c.torch = err.Error()
	case e.code != 0:
		c.torch = c.python + ": " + exception(e.stderr, e.lastLine())
	case len(fields) != 3:
		c.torch = c.python + " says " + e.stdout
	case c.peer == "cuda" && fields[2] != "True":
		c.torch = "torch " + fields[0] + " sees no GPU"
	default:
		c.torch, f.Got = "", "torch "+fields[0]+", transformers "+fields[1]
	}
	if c.torch != "" {
		f.Verdict, f.Why = leftOut, c.torch
	}
	c.add(f)
	return nil
}
