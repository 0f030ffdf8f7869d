package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAnonymous(t *testing.T) {
	for _, test := range []struct {
		name, data string
		found      bool
	}{
		{"nothing", "ggml/src/ggml.c", false},
		{"a source", "\x00/src/main.go\x00", true},
		{"the folder", "/src", true},
		{"in a list", "$ORIGIN:/src:/lib", true},
		{"part of a longer path", "ggml/src/ggml.c /src2/a x/src", false},
		{"after a part of a longer path", "ggml/src/ggml.c:/src/a", true},
		{"after a letter", "x/src", false},
		{"before letters", "/srca:/srcz:/srcA:/srcZ:/src0:/src9:/src_:/src-:/src.", false},
		{"before an accent", "/src`", true},
		{"before a brace", "/src{", true},
		{"before an at sign", "/src@", true},
		{"before a bracket", "/src[", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := (tree{"LICENSE": {}, "bin/paligemma": {data: []byte(test.data)}}).anonymous([]string{"/elsewhere", "/src"})
			if (err != nil) != test.found || err != nil && !strings.Contains(err.Error(), "bin/paligemma names /src, a folder") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestMachineFolders(t *testing.T) {
	t.Setenv("CARGO_HOME", "/home/user/cargo")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for cuda, counts := range map[string]bool{"/usr/local/cuda": false, "/usr/local/cuda-13.0": false, "/home/user/cuda": true} {
		folders, err := machineFolders(options{cuda: cuda})
		if err != nil || !slices.Contains(folders, here) || !slices.Contains(folders, filepath.Join("/home/user/cargo", "registry")) || slices.Contains(folders, cuda) != counts {
			t.Errorf("%s: %q, %v", cuda, folders, err)
		}
	}
	// Go's cache of modules is below the user's folder, unless it is elsewhere.
	t.Setenv("GOMODCACHE", "/elsewhere/mod")
	for home, counts := range map[string]bool{"/home/user/": true, "/root": false, "/tmp/": false, "/": false} {
		t.Setenv("HOME", home)
		folders, err := machineFolders(options{cuda: "/usr/local/cuda"})
		if err != nil || slices.Contains(folders, filepath.Clean(home)) != counts {
			t.Errorf("home %s: %q, %v", home, folders, err)
		}
	}
}
