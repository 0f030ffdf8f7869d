//go:build unix

package cli

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"paligemma/internal/gguf"
	"paligemma/internal/guard"
)

// TestModelDamaged: the file of a model is cut short, overwritten or replaced while
// it is mapped. That is one line and exit code 4, and no answer.
func TestModelDamaged(t *testing.T) {
	if guard.ExitCode != exitModel {
		t.Errorf("the guard's exit code is %d, want %d", guard.ExitCode, exitModel)
	}
	scene, err := os.ReadFile(filepath.Join(fixture(t, "IMAGES"), "scene.png"))
	if err != nil {
		t.Fatal(err)
	}
	model, err := gguf.Open(fixture(t, "MODEL"), gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	damages := map[string]func(path string) error{
		"cut":       func(path string) error { return os.Truncate(path, model.DataOffset) },
		"cut to 0":  func(path string) error { return os.Truncate(path, 0) },
		"half":      func(path string) error { return os.Truncate(path, int64(len(model.Bytes()))/2) },
		"a byte":    func(path string) error { return overwrite(path, model.DataOffset+5000) },
		"the magic": func(path string) error { return overwrite(path, 0) },
		"replaced": func(path string) error {
			if err := os.WriteFile(path+"2", model.Bytes(), 0o600); err != nil {
				return err
			}
			return os.Rename(path+"2", path)
		},
	}
	commands := map[string][]string{
		"caption":        {"caption", "pipe"},
		"two threads":    {"caption", "pipe", "-t", "2"},
		"beams":          {"caption", "pipe", "--beams", "2"},
		"several images": {"caption", "pipe", "pipe2", "--format", "json"},
		"score":          {"score", "pipe", "--prompt", "x", "--suffix", "y"},
		"forward":        {"forward", "pipe", "--prompt", "x", "-o", "out.safetensors"},
		"detect":         {"detect", "cat", "pipe", "--draw", "out.png"},
		"generate":       {"generate", "pipe", "--prompt", "x", "--max-tokens", "1000"},
	}
	for command, args := range commands {
		for name, damage := range damages {
			t.Run(command+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "m.gguf")
				if err := os.WriteFile(path, model.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"pipe", "pipe2"} {
					fifo(t, filepath.Join(dir, name))
				}
				cmd := exec.Command("paligemma", append(args, "-m", path, "-v")...)
				cmd.Dir = dir
				code, out, errs := damaged(t, cmd, func() error {
					return damage(path)
				}, scene)
				if code != exitModel || len(errs) != 1 || !strings.Contains(errs[0], path) {
					t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
				}
				for _, name := range []string{"out.safetensors", "out.png"} {
					if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
						t.Errorf("%s is written", name)
					}
				}
				if out != "" && command != "several images" {
					t.Errorf("it answers %q", out)
				}
			})
		}
	}
}

// overwrite changes a byte.
func overwrite(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("!"), at)
	return err
}

// damaged runs a command that waits for an image in the pipe, and gives it one when
// the model was opened and damaged. It returns the lines on stderr after that.
func damaged(t *testing.T, cmd *exec.Cmd, damage func() error, image []byte) (code int, out string, errs []string) {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout strings.Builder
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewReader(stderr)
	if line, err := lines.ReadString('\n'); err != nil { // that the model is open
		t.Fatalf("%q, %v", line, err)
	}
	if err := damage(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cmd.Dir, "pipe"), image, 0); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), stdout.String(), strings.Split(strings.TrimSuffix(string(rest), "\n"), "\n")
}

// TestModelCutWhileDecoding cuts the file while text is being written.
func TestModelCutWhileDecoding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	data, err := os.ReadFile(fixture(t, "MODEL"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	// More text than a pipe holds, so that the file is cut before the end of it.
	args := []string{"generate", "-m", path, "--max-tokens", "1000000"}
	for range 20 {
		args = append(args, "--prompt", "x")
	}
	cmd, _, stdout := start(t, t.TempDir(), args...)
	if _, err := io.ReadFull(stdout, make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 100_000); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, stdout)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitModel {
		t.Errorf("exit code %d", code)
	}
}
