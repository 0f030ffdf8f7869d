// Command dist makes the archive of a release from what `make install` put into a
// folder: it adds the licenses of everything that is linked in, a bill of materials,
// instructions and the files of deploy/, and packs all in the same bytes wherever and
// whenever it runs. `make dist` runs it; CONTRIBUTING.md says what else that does.
//
//	go run ./scripts/dist -stage build/stage -name paligemma-v0.15.0-linux-arm64 -arch arm64 -out build/archives
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// options say what is packed, and how it was built.
type options struct {
	stage   string // folder with bin/paligemma, share/… and perhaps lib/…
	name    string // of the archive, and of the folder in it
	version string
	arch    string // Go's name of the processor
	target  string // Rust's name of the system
	tags    string // Go's build tags
	cxx     string // the C++ compiler
	out     string // folder of the archives
	cuda    string // folder of CUDA's toolkit
	library bool   // Hugging Face's tokenizers are linked in
	time    time.Time
}

// binary returns the path of the program.
func (o options) binary() string { return filepath.Join(o.stage, "bin", "paligemma") }

// tools returns what the program was built with, next to Go.
func (o options) tools() []tool {
	if !o.library {
		return []tool{{o.cxx, ""}, {"cmake", ""}}
	}
	return []tool{{o.cxx, ""}, {"rustc", ""}, {"cmake", ""}}
}

func main() {
	var o options
	flag.StringVar(&o.stage, "stage", "", "`folder` with what make install installs")
	flag.StringVar(&o.name, "name", "", "name of the archive, without .tar.gz")
	flag.StringVar(&o.version, "version", "devel", "version of the program")
	flag.StringVar(&o.arch, "arch", "amd64", "processor of the binary, as Go calls it")
	flag.StringVar(&o.target, "target", "x86_64-unknown-linux-gnu", "system of the binary, as Rust calls it")
	flag.StringVar(&o.tags, "tags", "", "build tags of the binary")
	flag.StringVar(&o.cxx, "cxx", "c++", "C++ compiler of the binary")
	flag.StringVar(&o.cuda, "cuda", "/usr/local/cuda", "`folder` of the toolkit that a plug-in for CUDA was built with")
	toolkit := flag.Bool("toolkit", false, "only look whether the toolkit has the licenses of what it puts into a plug-in")
	flag.BoolVar(&o.library, "library", true, "the tokenizers library is linked in")
	flag.StringVar(&o.out, "out", "", "`folder` of the archives")
	flag.Parse()
	if !*toolkit && (o.stage == "" || o.name == "" || o.out == "") || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	work := run
	if *toolkit {
		work = func(o options) error { _, err := cudaParts(o); return err }
	}
	if err := work(o); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH is not the seconds since 1970 that files are dated with")
	}
	o.time = time.Unix(epoch, 0).UTC()
	files := tree{}
	if err := files.addFolder("", o.stage); err != nil {
		return err
	}
	machine, err := machineFolders(o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if plugins := files.split("lib/"); len(plugins) > 0 {
		if err := plugins.completePlugins(o); err != nil {
			return err
		}
		if err := plugins.anonymous(machine); err != nil {
			return err
		}
		if err := plugins.pack(filepath.Join(o.out, o.name+"-plugins.tar.gz"), o.name, o.time); err != nil {
			return err
		}
	}
	if err := files.complete(o); err != nil {
		return err
	}
	if err := files.anonymous(machine); err != nil {
		return err
	}
	return files.pack(filepath.Join(o.out, o.name+".tar.gz"), o.name, o.time)
}

// complete adds to the program what goes with it.
func (t tree) complete(o options) error {
	needs, err := requirements(o.binary(), systemLibraries, nil)
	if err != nil {
		return err
	}
	components, err := linked(o)
	if err != nil {
		return err
	}
	t.addLicenses(components)
	if err := t.addDocuments(o, needs); err != nil {
		return err
	}
	sum := t["bin/paligemma"].sha256()
	program := component{name: "paligemma", version: o.version, license: "Apache-2.0", download: none, sha256: sum}
	tools, err := versions(o.tools()...)
	if err != nil {
		return err
	}
	return t.addBill(o, "sbom.spdx.json", []product{{program, "APPLICATION", components}}, append([]string{runtime.Version()}, tools...))
}
