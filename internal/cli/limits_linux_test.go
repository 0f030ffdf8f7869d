package cli

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAddressSpace: with whatever address space, the program answers or says in one
// line what is missing.
func TestAddressSpace(t *testing.T) {
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	refused, answered := 0, 0
	for _, mib := range []int{100, 500, 1000, 1499, 1536, 1600, 1800, 2000, 2300, 2600, 3000, 4000} {
		for _, args := range []string{"", " --force", " --no-mmap"} {
			script := fmt.Sprintf("ulimit -v %d; exec paligemma caption %s -m %s%s", mib<<10, scene, fixture(t, "MODEL"), args)
			cmd := exec.Command("sh", "-c", script)
			var errs strings.Builder
			cmd.Stderr = &errs
			cmd.Run()
			switch code := cmd.ProcessState.ExitCode(); {
			case code == exitOK:
				answered++
			case code == exitFailed && strings.Count(errs.String(), "\n") == 1 && strings.HasPrefix(errs.String(), "paligemma: "):
				refused++
			default:
				t.Errorf("%d MiB%s: exit code %d, %.500q", mib, args, code, errs.String())
			}
		}
	}
	if refused == 0 || answered == 0 {
		t.Errorf("%d answered, %d refused", answered, refused)
	}
}

// TestLimits: a limit that is too low to start or to answer is one line, too.
func TestLimits(t *testing.T) {
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	for _, c := range []struct {
		limit string
		want  string // in the line, "" where there is an answer
	}{
		{"-d 60000", "limit of data is below"},
		{"-d 120000", "limit of data is below"},
		{"-n 6", "limit of open files is below"},
		{"-n 7", "limit of open files is below"},
		{"-n 11", "limit of open files is below"},
		{"-n 16", ""},
	} {
		t.Run(c.limit, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", "ulimit "+c.limit+"; exec paligemma caption -t 1 "+scene+" -m "+fixture(t, "MODEL"))
			var errs strings.Builder
			cmd.Stderr = &errs
			cmd.Run()
			code := cmd.ProcessState.ExitCode()
			if c.want == "" && code != exitOK || c.want != "" && (code != exitFailed || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), c.want)) {
				t.Errorf("exit code %d, %.500q", code, errs.String())
			}
		})
	}
}
