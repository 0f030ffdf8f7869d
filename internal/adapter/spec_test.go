package adapter

import (
	"os"
	"path/filepath"
	"testing"
)

// TestParseSpec takes a scale from a name's end.
func TestParseSpec(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "a:2")
	if err := os.Mkdir(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Spec{
		"my-adapter":      {"my-adapter", 1},
		"my-adapter:0.5":  {"my-adapter", 0.5},
		"my-adapter:-1":   {"my-adapter", -1},
		"a/b:0":           {"a/b", 0},
		"a:b:2e-1":        {"a:b", 0.2},
		odd:               {odd, 1},
		odd + ":3":        {odd, 3},
		"C:/adapters":     {"C:/adapters", 1},
		"none:half":       {"none:half", 1}, // Open says that it is not there
		":1":              {":1", 1},
		dir:               {dir, 1},
		dir + ":1":        {dir, 1},
		"hub/name:0x1p-2": {"hub/name", 0.25},
	} {
		if got, err := ParseSpec(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x:NaN", "x:inf", "x:1e300", "x:1e999", dir + ":", dir + ":half"} {
		if got, err := ParseSpec(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
