package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)|\b(?:src|href)="([^"]+)"`)
	inTree  = regexp.MustCompile("(?m)(?:^|[\\s`\"'(=])(?:\\.{1,2}/)?((?:cmd|docs|internal|scripts|testdata|third_party)/[\\w./*-]*)")
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	code    = regexp.MustCompile("(?s)```.*?\n```|`[^`\n]+`")
)

// Files and headings that the documentation links to exist, and the index of
// docs links to every page.
func TestLinks(t *testing.T) {
	pages := allPages(t)
	index := links(t, filepath.Join(root, "docs", "README.md"))
	for _, page := range pages {
		if name := filepath.Base(page); filepath.Base(filepath.Dir(page)) == "docs" && name != "README.md" && !index[name] {
			t.Errorf("docs/README.md does not link to %s", name)
		}
	}
	for _, page := range pages {
		for target := range links(t, page) {
			if strings.Contains(target, "://") {
				continue
			}
			path, anchor, _ := strings.Cut(target, "#")
			file := page
			if path != "" {
				file = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", page, target, err)
			} else if anchor != "" && !anchors(t, file)[anchor] {
				t.Errorf("%s links to %s, which has no such heading", page, target)
			}
		}
	}
}

// TestPaths checks that files and folders of the repository exist that the
// documentation names, in text or in commands.
func TestPaths(t *testing.T) {
	for _, page := range allPages(t) {
		for _, m := range inTree.FindAllStringSubmatch(readFile(t, page), -1) {
			name := strings.TrimRight(m[1], "./")
			if found, err := filepath.Glob(filepath.Join(root, name)); err != nil || found == nil {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
	}
}

// allPages returns the pages of the documentation.
func allPages(t *testing.T) []string {
	t.Helper()
	var pages []string
	for _, pattern := range []string{"docs/*.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "scripts/*/README.md", "testdata/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || found == nil {
			t.Fatalf("%s: no such page: %v", pattern, err)
		}
		pages = append(pages, found...)
	}
	return pages
}

// links returns the targets of the links and pictures of a page.
func links(t *testing.T, page string) map[string]bool {
	t.Helper()
	targets := map[string]bool{}
	for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(readFile(t, page), ""), -1) {
		targets[m[1]+m[2]] = true
	}
	return targets
}

// anchors returns the names that GitHub gives to the headings of a page.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(readFile(t, page), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		names[name] = true
	}
	return names
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
