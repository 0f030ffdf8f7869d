package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "paligemma/"
)

// TestImports compares what each package imports, tests left out, with
// allowed.txt.
func TestImports(t *testing.T) {
	allowed, found := readAllowed(t), readImports(t)
	for _, pkg := range slices.Sorted(maps.Keys(found)) {
		t.Run(pkg, func(t *testing.T) {
			may, ok := allowed[pkg]
			if !ok {
				t.Fatalf("allowed.txt has no line for %s", pkg)
			}
			for _, name := range slices.Sorted(maps.Keys(found[pkg])) {
				if !slices.Contains(may, name) {
					t.Errorf("%s imports %s, which allowed.txt does not allow", pkg, name)
				}
			}
			for _, name := range may {
				if !found[pkg][name] {
					t.Errorf("allowed.txt lets %s import %s, which it does not", pkg, name)
				}
			}
		})
	}
	for pkg := range allowed {
		if found[pkg] == nil {
			t.Errorf("allowed.txt has a line for %s, which does not exist", pkg)
		}
	}
}

// readAllowed parses allowed.txt.
func readAllowed(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile("allowed.txt")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		pkg, names, ok := strings.Cut(line, ":")
		if !ok || allowed[pkg] != nil {
			t.Fatalf("allowed.txt: bad line %q", line)
		}
		allowed[pkg] = append([]string{}, strings.Fields(names)...)
	}
	return allowed
}

// readImports finds the packages of the module and what each imports of it, for
// every operating system. "C" stands for cgo.
func readImports(t *testing.T) map[string]map[string]bool {
	t.Helper()
	found := map[string]map[string]bool{}
	for _, top := range []string{"cmd", "internal", "scripts", "third_party"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			pkg, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			pkg = filepath.ToSlash(pkg)
			if found[pkg] == nil {
				found[pkg] = map[string]bool{}
			}
			for _, spec := range file.Imports {
				name := strings.Trim(spec.Path.Value, `"`)
				if inside, ok := strings.CutPrefix(name, module); ok {
					found[pkg][inside] = true
				} else if name == "C" {
					found[pkg][name] = true
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
