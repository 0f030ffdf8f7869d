package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestHostTests reads the tests: those that compile something are of the host, and of each
// pattern there is one.
func TestHostTests(t *testing.T) {
	test := regexp.MustCompile(`(?ms)^func ((?:Test|Fuzz)\w+)\(.*?^}`)
	compiles := regexp.MustCompile(`fakePlugin\(|checkedProgram\(`)
	unused := map[string]bool{}
	for _, pattern := range hostTests {
		unused[pattern] = true
	}
	for _, name := range testPackages {
		paths, err := filepath.Glob(filepath.Join("..", "..", "internal", name, "*_test.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d files of tests (%v)", name, len(paths), err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range test.FindAllSubmatch(data, -1) {
				ofHost := false
				for _, pattern := range hostTests {
					if regexp.MustCompile("^(" + pattern + ")$").Match(m[1]) {
						ofHost = true
						delete(unused, pattern)
					}
				}
				if compiles.Match(m[0]) && !ofHost {
					t.Errorf("%s compiles something: name it in hostTests", m[1])
				}
			}
		}
	}
	for pattern := range unused {
		t.Errorf("there is no test %s", pattern)
	}
}
