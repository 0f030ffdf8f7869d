package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// machineFolders returns the folders of this machine that builds could write into what
// they make: this one, those of the modules and crates, CUDA's toolkit, and the user's,
// unless it is one that programs name on any machine, such as /root or /tmp.
func machineFolders(o options) ([]string, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	modules, err := output("go", "env", "GOMODCACHE")
	if err != nil {
		return nil, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	folders := []string{here, modules, filepath.Join(cmp.Or(os.Getenv("CARGO_HOME"), filepath.Join(home, ".cargo")), "registry")}
	if toolkit, err := filepath.Abs(o.cuda); err == nil && !strings.HasPrefix(toolkit, "/usr/local/cuda") {
		folders = append(folders, toolkit)
	}
	if strings.Count(filepath.Clean(home), "/") > 1 {
		folders = append(folders, filepath.Clean(home))
	}
	return folders, nil
}

// anonymous reports which file names one of the folders of a machine, if any.
func (t tree) anonymous(folders []string) error {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		for _, folder := range folders {
			if names(t[name].data, folder) {
				return fmt.Errorf("%s names %s, a folder of this machine: it would have other bytes on others", name, folder)
			}
		}
	}
	return nil
}

// names reports whether data has the path of a folder, and not as a part of a longer one.
func names(data []byte, folder string) bool {
	for {
		i := bytes.Index(data, []byte(folder))
		if i < 0 {
			return false
		}
		before, after := data[:i], data[i+len(folder):]
		if !endsInName(before) && !beginsWithName(after) {
			return true
		}
		data = after
	}
}

func endsInName(data []byte) bool { return len(data) > 0 && isNameByte(data[len(data)-1]) }

func beginsWithName(data []byte) bool { return len(data) > 0 && isNameByte(data[0]) }

// isNameByte reports whether names of files commonly have a character.
func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'
}
