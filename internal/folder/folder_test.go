package folder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes files with their folders, and returns the folder of all.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestSnapshot finds the files of a repository in a cache.
func TestSnapshot(t *testing.T) {
	const one, two = "models--a--b/snapshots/0001/x", "models--a--b/snapshots/0002/x"
	for name, test := range map[string]struct {
		files    map[string]string
		dir      string
		want     string
		refusing string
	}{
		"the only one":       {map[string]string{one: ""}, "models--a--b", "models--a--b/snapshots/0001", ""},
		"main":               {map[string]string{one: "", two: "", "models--a--b/refs/main": "0002\n"}, "models--a--b", "models--a--b/snapshots/0002", ""},
		"main elsewhere":     {map[string]string{one: "", "models--a--b/refs/main": "0009"}, "models--a--b", "models--a--b/snapshots/0001", ""},
		"a long ref":         {map[string]string{one: "", "models--a--b/refs/main": strings.Repeat("0001", 999)}, "models--a--b", "models--a--b/snapshots/0001", ""},
		"several":            {map[string]string{one: "", two: ""}, "models--a--b", "", "cache of 2 snapshots (0001, 0002)"},
		"nothing downloaded": {map[string]string{"models--a--b/refs/main": "0001"}, "models--a--b", "models--a--b", ""},
		"another folder":     {map[string]string{"a/snapshots/0001/x": ""}, "a", "a", ""},
		"a snapshot":         {map[string]string{one: ""}, "models--a--b/snapshots/0001", "models--a--b/snapshots/0001", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := write(t, test.files)
			got, err := Snapshot(filepath.Join(root, test.dir))
			if test.refusing != "" {
				if err == nil || !strings.Contains(err.Error(), test.refusing) {
					t.Errorf("%q, %v", got, err)
				}
				return
			}
			if err != nil || got != filepath.Join(root, test.want) {
				t.Errorf("%q, %v, want %q", got, err, test.want)
			}
		})
	}
}

// TestCachedName takes the name from a path in a cache.
func TestCachedName(t *testing.T) {
	for path, want := range map[string]string{
		"/hub/models--a--b":                       "b",
		"/hub/models--a--b--c":                    "b--c",
		"/hub/models--b":                          "b",
		"/hub/models--a--b/snapshots/01":          "b",
		"/hub/models--a--b/snapshots/01/x.json":   "b",
		"/hub/models--a--b/blobs/01":              "",
		"/hub/models":                             "",
		"/my-models--x/models--/snapshots/1":      "",
		"/models--a--b/snapshots/1/models--c--d":  "d",
		"/models--a--b/snapshots/1/checkpoint-20": "b",
	} {
		if got := CachedName(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestList sorts the names.
func TestList(t *testing.T) {
	dir := write(t, map[string]string{"b": "", "a": "", "c/d": ""})
	if got := strings.Join(List(dir), " "); got != "a b c" {
		t.Error(got)
	}
	if got := List(filepath.Join(dir, "a")); len(got) > 0 {
		t.Error(got)
	}
	if !Exists(dir) || Exists(filepath.Join(dir, "x")) {
		t.Error("exists")
	}
}

// TestIsHubName tells names from paths.
func TestIsHubName(t *testing.T) {
	for name, want := range map[string]bool{"google/paligemma-3b": true, "a/b/c": false, "./a": false, "a": false, "-a/b": false, "": false} {
		if IsHubName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
