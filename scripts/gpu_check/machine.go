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

// machine finds the driver, CUDA's libraries, the device and torch.
func (c *check) machine(ctx context.Context) error {
	c.absent = "no device was looked for" // until it is found
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
	c.findTorch(ctx)
	if c.absent == "" && c.wants("logits") {
		c.beginFiles(ctx)
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
		c.report.GPU, c.report.Driver = strings.TrimSpace(fields[0]), strings.TrimSpace(fields[1])
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
		names, shownNames = append(names, d.Name), append(shownNames, fmt.Sprintf("%s (%s)", d.Name, d.Description))
	}
	c.add(finding{Part: "machine", What: "paligemma devices", Got: strings.Join(append(shownNames, nonEmpty(e.stderr)...), "; ")})
	if c.absent = ""; !slices.Contains(names, c.computes()) {
		c.absent = fmt.Sprintf("no device %s: paligemma lists %s", c.computes(), strings.Join(names, ", "))
		if plugins, _ := filepath.Glob(filepath.Join(c.programs, "bin", "libggml-*.so")); len(plugins) == 0 {
			c.absent += ", and there is no plug-in next to it"
		}
		for _, line := range nonEmpty(e.stderr) {
			if strings.Contains(line, "is not used") { // a plug-in, and why
				c.absent += "; " + line
			}
		}
	}
	return nil
}

// findLibraries finds the folders of the libraries that plug-ins want and that the
// system does not look into: CUDA's own, and those of Python's packages.
func (c *check) findLibraries(ctx context.Context) {
	plugins, _ := filepath.Glob(filepath.Join(c.programs, "bin", "libggml-cuda-*.so"))
	if len(plugins) == 0 {
		c.add(finding{Part: "machine", What: "plug-in for CUDA", Verdict: leftOut, Why: "libggml-cuda-*.so is not next to paligemma: make CUDA=1"})
		return
	}
	f, err := elf.Open(plugins[0])
	if err != nil {
		c.add(finding{Part: "machine", What: "plug-in for CUDA", Verdict: missed, Why: err.Error()})
		return
	}
	defer f.Close()
	wanted, _ := f.ImportedLibraries()
	for _, name := range wanted {
		if !strings.HasPrefix(name, "libcu") {
			continue
		}
		found := finding{Part: "machine", What: name, Verdict: leftOut, Why: "not found in CUDA's folders nor among Python's packages"}
		for _, folder := range c.libraryFolders(ctx) {
			if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
				found.Got, found.Verdict, found.Why = folder, shown, ""
				if !slices.Contains(c.libraries, folder) {
					c.libraries = append(c.libraries, folder)
				}
				break
			}
		}
		c.add(found)
	}
}

// libraryFolders lists where CUDA's libraries may be.
func (c *check) libraryFolders(ctx context.Context) []string {
	patterns := []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/local/cuda/lib64",
		"/usr/local/cuda/targets/x86_64-linux/lib", "/usr/local/cuda-*/lib64", "/usr/local/cuda/compat"}
	if home := os.Getenv("CUDA_HOME"); home != "" {
		patterns = append([]string{filepath.Join(home, "lib64"), filepath.Join(home, "lib")}, patterns...)
	}
	packages := child{path: c.python, args: []string{"-c", "import sysconfig; print(sysconfig.get_path('purelib'))"}}
	if e, err := c.exec(ctx, packages); err == nil && e.code == 0 {
		site := strings.TrimSpace(e.stdout)
		patterns = append(patterns, filepath.Join(site, "nvidia", "*", "lib"))
	}
	var folders []string
	for _, p := range patterns {
		all, _ := filepath.Glob(p)
		folders = append(folders, all...)
	}
	return folders
}

// findTorch notes what is missing to run transformers.
func (c *check) findTorch(ctx context.Context) {
	script := "import torch, transformers, PIL; print(torch.__version__, transformers.__version__, torch.cuda.is_available())"
	e, err := c.exec(ctx, child{path: c.python, args: []string{"-c", script}})
	f := finding{Part: "machine", What: "torch and transformers"}
	switch fields := strings.Fields(e.stdout); {
	case err != nil:
		c.torch = err.Error()
	case e.code != 0:
		c.torch = c.python + ": " + e.lastLine()
	case len(fields) != 3:
		c.torch = c.python + " says " + e.stdout
	case c.peer == "cuda" && fields[2] != "True":
		c.torch = "torch " + fields[0] + " sees no GPU"
	default:
		f.Got = "torch " + fields[0] + ", transformers " + fields[1]
	}
	if c.torch != "" {
		f.Verdict, f.Why = leftOut, c.torch
	}
	c.add(f)
}
