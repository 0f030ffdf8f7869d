// Package version tests describe.sh, which gives a build its version.
package version

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each case is a script that makes the folder "source" in an empty one.
func TestDescribe(t *testing.T) {
	const repository = `git init -q source && cd source && echo 1 >a && git add a && git commit -qm one
`
	tests := map[string]struct{ script, want string }{
		"a tag":            {repository + "git tag v0.15.0", `v0\.15\.0`},
		"annotated":        {repository + "git tag -a -m x v0.15.0", `v0\.15\.0`},
		"after a tag":      {repository + "git tag v0.15.0; git commit -qm two --allow-empty", `v0\.15\.0-1-g[0-9a-f]{7}`},
		"dirty":            {repository + "git tag v0.15.0; echo 2 >a", `v0\.15\.0-dirty`},
		"no tag":           {repository, `devel-[0-9a-f]{7}`},
		"no tag, dirty":    {repository + "echo 2 >a", `devel-[0-9a-f]{7}-dirty`},
		"another tag":      {repository + "git tag nightly", `devel-[0-9a-f]{7}`},
		"no commit":        {"git init -q source", "devel"},
		"no git":           {"mkdir source", "devel"},
		"a tree around it": {"git init -q && git commit -qm one --allow-empty && git tag v9.0.0 && mkdir source", "devel"},
		"a worktree":       {"(" + repository + "git tag v0.15.0); mv source main; git -C main worktree add -q ../source 2>/dev/null", `v0\.15\.0`},
	}
	script, err := filepath.Abs("describe.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			env := append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
			runIn(t, dir, env, "sh", "-ec", tt.script)
			got := strings.TrimSuffix(runIn(t, filepath.Join(dir, "source"), env, script), "\n")
			if !regexp.MustCompile("^" + tt.want + "$").MatchString(got) {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
}

// runIn runs a command in a folder and returns its output.
func runIn(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	var errs strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, errs.String())
	}
	return string(out)
}
