package main

import (
	"debug/elf"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// systemLibraries are the libraries that a released file may ask any system for: those of
// glibc, and those of GCC.
var systemLibraries = []string{"libgcc_s.so.1", "libstdc++.so.6", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}

// gccOf has GCC's first version with each version of libstdc++'s functions, from GCC 5 on.
var gccOf = map[string]string{"3.4": "5", "3.4.21": "5", "3.4.22": "6", "3.4.23": "7", "3.4.24": "7", "3.4.25": "8", "3.4.26": "9", "3.4.27": "9", "3.4.28": "10", "3.4.29": "11", "3.4.30": "12", "3.4.31": "13", "3.4.32": "13.2", "3.4.33": "14", "3.4.34": "15"}

// needs says how old a system may be: the oldest glibc that has all that a file asks of
// it, such as 2.34, and the oldest GCC whose libstdc++ has.
type needs struct{ glibc, gcc string }

// requirements returns what a program or plug-in needs. It asks for these libraries
// only, and looks for them in these folders and the system's.
func requirements(path string, libraries, folders []string) (needs, error) {
	wanted, looked, err := dynamic(path)
	if err != nil {
		return needs{}, err
	}
	file, err := elf.Open(path)
	if err != nil {
		return needs{}, err
	}
	defer file.Close()
	for _, name := range wanted {
		if !slices.Contains(libraries, name) {
			return needs{}, fmt.Errorf("%s needs %s, which not every system has: link it statically", path, name)
		}
	}
	for _, folder := range looked {
		if !slices.Contains(folders, folder) {
			return needs{}, fmt.Errorf("%s looks for libraries in %s, a folder of this machine: build it with make dist", path, folder)
		}
	}
	symbols, err := file.ImportedSymbols()
	if err != nil {
		return needs{}, fmt.Errorf("%s: %w", path, err)
	}
	var versions []string
	for _, s := range symbols {
		versions = append(versions, s.Version)
	}
	glibc, cxx := newest("GLIBC_", versions), newest("GLIBCXX_", versions)
	if glibc == "" {
		return needs{}, fmt.Errorf("%s asks nothing of glibc", path)
	}
	if gccOf[cxx] == "" {
		return needs{}, fmt.Errorf("%s asks for GLIBCXX_%s: extend gccOf with the GCC that brought it", path, cxx)
	}
	return needs{glibc, gccOf[cxx]}, nil
}

// dynamic returns the libraries that a file asks for, and the folders that it names for them.
func dynamic(path string) (libraries, folders []string, err error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if libraries, err = file.ImportedLibraries(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		lists, err := file.DynString(tag)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, list := range lists {
			folders = append(folders, filepath.SplitList(list)...)
		}
	}
	return libraries, folders, nil
}

// newest returns the newest of the versions that begin with a prefix, such as GLIBC_2.34, without it.
func newest(prefix string, versions []string) (newest string) {
	for _, v := range versions {
		text, found := strings.CutPrefix(v, prefix)
		if found && slices.Compare(numbers(text), numbers(newest)) > 0 {
			newest = text
		}
	}
	return newest
}

// numbers returns the parts of a version such as 2.3.4, none for a name such as PRIVATE.
func numbers(text string) []int {
	var parts []int
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		parts = append(parts, n)
	}
	return parts
}
