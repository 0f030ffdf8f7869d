package cli

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const deploy = "../../deploy"

// deployed reads a file of deploy.
func deployed(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// commandOf returns a command of the program.
func commandOf(t *testing.T, name string) *cobra.Command {
	t.Helper()
	root := (&app{Streams: Streams{Out: io.Discard, Err: io.Discard}}).rootCommand()
	cmd, _, err := root.Find([]string{name})
	if err != nil || cmd == root {
		t.Fatalf("there is no command %q", name)
	}
	return cmd
}

// TestDeployFlags: the flags and variables that the files use are those of serve, and
// the commands exist.
func TestDeployFlags(t *testing.T) {
	serve := commandOf(t, "serve")
	for _, name := range []string{"paligemma.service", "paligemma.socket", "Containerfile", "kubernetes.yaml"} {
		text := deployed(t, name)
		known := map[string]bool{}
		add := func(f *pflag.Flag) { known[envName(f.Name)] = true }
		serve.LocalFlags().VisitAll(add)
		serve.InheritedFlags().VisitAll(add)
		for _, variable := range regexp.MustCompile(`PALIGEMMA_[A-Z_]+`).FindAllString(text, -1) {
			if variable = strings.TrimSuffix(variable, "_"); !known[variable] && variable != "PALIGEMMA" {
				t.Errorf("%s: %s is not a variable of serve", name, variable)
			}
		}
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "serve") || strings.HasPrefix(line, "#") {
				continue
			}
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(line, -1) {
				if serve.Flag(strings.TrimPrefix(flag, "--")) == nil {
					t.Errorf("%s: %s is not a flag of serve", name, flag)
				}
			}
		}
	}
}

// TestContainerfile: what the container runs exists.
func TestContainerfile(t *testing.T) {
	text := deployed(t, "Containerfile")
	value := func(pattern string) (words []string) {
		t.Helper()
		match := regexp.MustCompile(`(?m)^` + pattern + ` (\[.*\])$`).FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("no %s", pattern)
		}
		if err := json.Unmarshal([]byte(match[1]), &words); err != nil {
			t.Fatal(err)
		}
		return words
	}
	health := value(`HEALTHCHECK .*CMD`)
	entry := append(value("ENTRYPOINT"), value("CMD")...)
	if entry[0] != "/usr/bin/paligemma" || health[0] != entry[0] {
		t.Errorf("%q, %q: want the program that rootfs.sh installs", entry, health)
	}
	commandOf(t, entry[1])
	commandOf(t, health[1])
	for _, line := range []string{"FROM scratch", "USER 65532:65532"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

// TestUnits reads the units as systemd does, where it is installed.
func TestUnits(t *testing.T) {
	program, err := exec.LookPath("paligemma")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"paligemma.service", "paligemma.socket"} {
		text := deployed(t, name)
		section := regexp.MustCompile(`^\[(Unit|Service|Socket|Install)\]$`)
		setting := regexp.MustCompile(`^[A-Z][A-Za-z]+=.*$`)
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !section.MatchString(line) && !setting.MatchString(line) {
				t.Errorf("%s: %q is malformed", name, line)
			}
		}
		path := filepath.Join(dir, name)
		paths = append(paths, path)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "/usr/local/bin/paligemma", program)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return
	}
	if out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, paths...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// TestRootFS makes the root folder of the container, in which the program runs.
func TestRootFS(t *testing.T) {
	program, err := exec.LookPath("paligemma")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	script := filepath.Join(deploy, "rootfs.sh")
	if out, err := exec.Command(script, program, root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(script, program, root).CombinedOutput(); err == nil {
		t.Errorf("a folder that exists is written to: %s", out)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/bin/paligemma")); err != nil {
		t.Error(err)
	}
	cmd := exec.Command("/usr/bin/paligemma", "version")
	if os.Getuid() != 0 {
		return // only root may change the root
	}
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // of the test, which others may not enter
		t.Fatal(err)
	}
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "paligemma ") {
		t.Errorf("%v: %s", err, out)
	}
}
