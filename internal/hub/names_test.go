package hub

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"model.safetensors", "config.json", "a b.json", "é.json", "..json", "console.json"} {
		if err := CheckFile(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "../x", "a/b", "/etc/passwd", `..\x`, `C:\x`, "c:x", "a\x00b", "a\nb", "a\x7f", "\xff", "CON", "con.json", "nul.safetensors", "COM1", "lpt9.json",
		"com¹.json", "aux .json", "a.", "a ", "a*", "a?", `a"`, "a<b", "a|b", strings.Repeat("x", 256),
	} {
		if err := CheckFile(name); err == nil {
			t.Errorf("%q is accepted", name)
		} else if len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
	for _, id := range []string{"google/paligemma2-3b-mix-224", "a/b", "A_b/c.d-e_f"} {
		if err := CheckID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", "a", "a/b/c", "a/", "/b", "../b", "a/..", "a/b--c", "a/b..c", "-a/b", "a/b-", "a/.b", "con/b", "a/nul", "a b/c", "a/b\x00", "é/b", "a\\b/c", "a%2f/b", strings.Repeat("a", 90) + "/bcdefgh"} {
		if CheckID(id) == nil {
			t.Errorf("%q is accepted", id)
		}
	}
	for _, revision := range []string{"main", "refs/pr/1", "v1.0", strings.Repeat("a", 40)} {
		if err := CheckRevision(revision); err != nil {
			t.Error(err)
		}
	}
	for _, revision := range []string{"", "..", "a..b", "a b", "a\x00", "/a", "a/", "a:b", `a\b`, "a\xffb", strings.Repeat("a", 201)} {
		if CheckRevision(revision) == nil {
			t.Errorf("%q is accepted", revision)
		}
	}
	twice := []File{{Path: "a.json"}, {Path: "A.json"}}
	if err := checkDistinct(twice); err == nil {
		t.Error("names that differ in case only are accepted")
	}
}
