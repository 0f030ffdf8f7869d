package doctest

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/cli"
)

var update = flag.Bool("update", false, "write the outputs of the commands into the documentation")

const root = "../.."

// samples are the files of the repository that commands may use.
var samples = []string{"internal/demo/demo.gguf", "testdata/checkpoints/pg2-tiny", "testdata/photos", "testdata/scenes"}

// TestMain makes this program paligemma where it is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "paligemma" {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestDocumentation runs the commands of README.md and of docs, twice in the
// same folder, as a reader would who comes back.
func TestDocumentation(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append([]string{filepath.Join(root, "README.md")}, pages...) {
		name, err := filepath.Rel(root, page)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testPage(t, page)
		})
	}
}

func testPage(t *testing.T, page string) {
	text := readFile(t, page)
	blocks, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	dir, env := sandbox(t)
	for range 2 {
		results, err := Run(t.Context(), dir, env, blocks)
		if err != nil {
			t.Fatal(err)
		}
		wrong, outputs := Compare(blocks, results)
		if *update && outputs != nil {
			text = Rewrite(text, blocks, outputs)
			if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if blocks, err = Parse(text); err != nil {
				t.Fatal(err)
			}
			wrong, _ = Compare(blocks, results)
		}
		for _, w := range wrong {
			t.Errorf("%s:%s", filepath.Base(page), w)
		}
		logMissing(t, page, blocks, results)
	}
}

// logMissing names the commands that were not run.
func logMissing(t *testing.T, page string, blocks []Block, results []Result) {
	t.Helper()
	i := 0
	for _, b := range blocks {
		for _, c := range b.Commands {
			if results[i].Missing != nil {
				first, _, _ := strings.Cut(c.Text, "\n")
				t.Logf("%s:%d: not run without %s: %s", filepath.Base(page), c.Line, strings.Join(results[i].Missing, " and "), first)
			}
			i++
		}
	}
}

// sandbox makes a folder with the repository's samples and the environment of
// a shell in it, where paligemma is this program.
func sandbox(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	for _, name := range samples {
		copyTree(t, filepath.Join(root, name), filepath.Join(dir, name))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "paligemma")); err != nil {
		t.Fatal(err)
	}
	env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "PALIGEMMA_") || slices.Contains([]string{"PATH", "HOME", "BASH_ENV"}, name)
	})
	return dir, append(env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "HOME="+dir,
		"LC_ALL=C.UTF-8", "PALIGEMMA_THREADS=1") // tests of packages run side by side
}

// copyTree copies a file or folder.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
