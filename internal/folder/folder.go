// Package folder knows the folders that checkpoints and adapters lie in, among them
// those of the hub's cache: models--OWNER--NAME, with refs and snapshots in it.
package folder

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/regular"
)

const (
	maxListed = 10_000 // entries of a folder that are looked at
	maxRef    = 256    // bytes of a file in refs; a commit has 40
)

// hubName fits the name of a repository: OWNER/NAME.
var hubName = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$`)

// IsHubName reports whether a path may be the name of a repository on the hub.
func IsHubName(path string) bool { return hubName.MatchString(path) }

// Exists reports whether there is something of a name.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// List returns the names in a folder, sorted; nil if it cannot be read.
func List(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(maxListed)
	slices.Sort(names)
	return names
}

// Snapshot returns the folder itself or, of a repository in a hub's cache, the folder
// of its files: that of the branch main, or the only one.
func Snapshot(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil || !strings.HasPrefix(filepath.Base(abs), "models--") {
		return dir, nil
	}
	snapshots := filepath.Join(dir, "snapshots")
	names := List(snapshots)
	if len(names) == 0 {
		return dir, nil
	}
	if revision := readRef(filepath.Join(dir, "refs", "main")); slices.Contains(names, revision) {
		return filepath.Join(snapshots, revision), nil
	}
	if len(names) == 1 {
		return filepath.Join(snapshots, names[0]), nil
	}
	return "", fmt.Errorf("a hub's cache of %d snapshots (%s): name one of the folders in snapshots", len(names), quote.Few(names, func(name string) string { return quote.Line(name, quote.Max) }))
}

// readRef returns the commit that a file in refs names; "" if there is none.
func readRef(path string) string {
	b, err := regular.ReadStart(path, maxRef)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// CachedName returns the name of a repository in a hub's cache, by the path of its
// snapshot, of a file in it or of the repository; else "".
func CachedName(path string) string {
	for at := path; ; at = filepath.Dir(at) {
		if repository, ok := strings.CutPrefix(filepath.Base(at), "models--"); ok {
			inside, err := filepath.Rel(at, path)
			if err != nil || inside != "." && !strings.HasPrefix(inside, "snapshots"+string(filepath.Separator)) {
				return ""
			}
			if _, name, ok := strings.Cut(repository, "--"); ok {
				return name
			}
			return repository
		}
		if filepath.Dir(at) == at {
			return ""
		}
	}
}
