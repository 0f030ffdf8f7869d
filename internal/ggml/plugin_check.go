package ggml

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// pluginSection is the section of a plug-in that holds the hash of ggml's sources, as
// text that ends with a zero byte (third_party/ggml/plugin.c).
const pluginSection = ".paligemma"

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkPlugin reports why a file cannot be a plug-in of this program. The dynamic
// loader would look at less: a file that was cut short kills the process.
func checkPlugin(r io.ReaderAt, size int64) error {
	f, err := elf.NewFile(r)
	if err != nil {
		return errors.New("it is not a shared library, or damaged")
	}
	if f.Type != elf.ET_DYN || f.Machine != machines[runtime.GOARCH] {
		return fmt.Errorf("it is not a shared library for %s", runtime.GOARCH)
	}
	for _, p := range f.Progs {
		if limit := uint64(size); p.Off > limit || p.Filesz > limit-p.Off {
			return errors.New("it is cut short")
		}
	}
	s := f.Section(pluginSection)
	if s == nil || s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_COMPRESSED != 0 || s.Size != uint64(len(tree)+1) {
		return errors.New("it is not a plug-in of paligemma")
	}
	made, err := s.Data()
	if err != nil {
		return errors.New("it is cut short")
	}
	if strings.TrimSuffix(string(made), "\x00") != tree {
		return errors.New("it was made of another ggml than its name says")
	}
	return nil
}
