package main

import (
	"debug/elf"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// allowed are the libraries that a released binary may ask the system for: those of glibc,
// and those of GCC.
var allowed = []string{"libgcc_s.so.1", "libstdc++.so.6", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}

// requiredGlibc returns the oldest glibc that has all that a binary asks of it, such as 2.34.
func requiredGlibc(binary string) (string, error) {
	file, err := elf.Open(binary)
	if err != nil {
		return "", err
	}
	defer file.Close()
	libraries, err := file.ImportedLibraries()
	if err != nil {
		return "", fmt.Errorf("%s: %w", binary, err)
	}
	for _, name := range libraries {
		if !slices.Contains(allowed, name) {
			return "", fmt.Errorf("%s needs %s, which not every system has: link it statically", binary, name)
		}
	}
	symbols, err := file.ImportedSymbols()
	if err != nil {
		return "", fmt.Errorf("%s: %w", binary, err)
	}
	var versions []string
	for _, s := range symbols {
		versions = append(versions, s.Version)
	}
	version := newestGlibc(versions)
	if version == "" {
		return "", fmt.Errorf("%s asks nothing of glibc", binary)
	}
	return version, nil
}

// newestGlibc returns the newest of the versions that are glibc's, such as GLIBC_2.34, without that prefix.
func newestGlibc(versions []string) (newest string) {
	for _, v := range versions {
		text, found := strings.CutPrefix(v, "GLIBC_")
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
