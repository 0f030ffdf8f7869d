package doctest

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNotice checks that NOTICE names the Go modules that are linked, and no
// others: by default, and in a build that reads HEIC and AVIF.
func TestNotice(t *testing.T) {
	usual, heif, found := strings.Cut(readFile(t, filepath.Join(root, "NOTICE")), "A build with HEIF=1")
	if !found {
		t.Fatal("NOTICE says nothing of HEIF=1")
	}
	for _, tt := range []struct{ name, tags, text string }{
		{"default", "", usual},
		{"heif", "heif nodynamic", usual + heif},
	} {
		t.Run(tt.name, func(t *testing.T) {
			named, linked := noticeModules(tt.text), linkedModules(t, tt.tags)
			if !slices.Equal(named, linked) {
				t.Errorf("NOTICE names %q, linked are %q", named, linked)
			}
		})
	}
}

// noticeLine matches a line about a Go module, or about several with the same beginning.
var noticeLine = regexp.MustCompile(`(?m)^  ((?:[\w.-]+/)+)([\w.-]+(?:, [\w.-]+)*) `)

// noticeModules returns the modules that a part of NOTICE names, sorted.
func noticeModules(text string) []string {
	names := map[string]bool{}
	for _, m := range noticeLine.FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(m[2], ", ") {
			names[m[1]+name] = true
		}
	}
	delete(names, "huggingface/tokenizers") // Rust, within daulet/tokenizers
	return slices.Sorted(maps.Keys(names))
}

var majorVersion = regexp.MustCompile(`/v[0-9]+$`)

// linkedModules returns the modules of the binary, as NOTICE spells them, sorted.
func linkedModules(t *testing.T, tags string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags", tags, "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./cmd/paligemma")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		names[majorVersion.ReplaceAllString(strings.TrimPrefix(path, "github.com/"), "")] = true
	}
	return slices.Sorted(maps.Keys(names))
}
