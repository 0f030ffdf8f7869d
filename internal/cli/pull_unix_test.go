//go:build unix

package cli

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"paligemma/internal/hub/hubtest"
)

// pullProcess is a process that pulls test/two as f32.
func pullProcess(t *testing.T) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.Command("paligemma", "pull", "test/two", "--type", "f32")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// slowDown makes a hub slow. The channel is closed when its storage is asked for a range
// that begins with bytesRange.
func slowDown(h *hubtest.Hub, bytesRange string) (begun <-chan struct{}) {
	h.SetRate(1_000_000)
	asked := make(chan struct{})
	once := sync.OnceFunc(func() { close(asked) })
	h.SetFault(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/storage/") && strings.HasPrefix(r.Header.Get("Range"), bytesRange) {
			once()
		}
		return false
	})
	return asked
}

// leftovers lists the files that are not models.
func leftovers(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) != ".gguf" {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestPullKilled: a pull that is killed at any moment goes on when it is run again, and
// gives the file that an unbroken one gives. scripts/hub/kill.sh does it many times.
func TestPullKilled(t *testing.T) {
	h := testHub(t)
	dir := userFolders(t)
	cmd, out, errs := pullProcess(t)
	if err := cmd.Run(); err != nil {
		t.Fatal(err, errs)
	}
	path := strings.TrimSpace(out.String())
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h.SetRate(1_500_000)
	random := rand.New(rand.NewPCG(17, 0))
	for kills := 0; ; kills++ {
		cmd, _, errs := pullProcess(t)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(200+random.IntN(1300))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || kills == 100 {
			t.Fatalf("%v after %d kills: %s", err, kills, errs)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, want the same %d", len(got), err, len(want))
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestPullInterrupted: SIGINT ends a pull with 130 and one line; what was downloaded
// stays, and the next run goes on.
func TestPullInterrupted(t *testing.T) {
	h := testHub(t)
	dir := userFolders(t)
	begun := slowDown(h, "bytes=1048576-1830951")
	cmd, _, errs := pullProcess(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-begun // the first piece is there
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || errs.String() != "paligemma: interrupted\n" {
		t.Errorf("code %d: %s", code, errs)
	}
	parts, err := filepath.Glob(filepath.Join(dir, "cache/paligemma/downloads/test--two/*/two/model.safetensors.part"))
	if err != nil || len(parts) != 1 {
		t.Fatalf("%q, %v; there are %q", parts, err, leftovers(t, dir))
	}
	h.SetRate(0)
	before := len(h.Requests())
	cmd, _, errs = pullProcess(t)
	if err := cmd.Run(); err != nil {
		t.Fatal(err, errs)
	}
	if !strings.Contains(errs.String(), "going on with the other") {
		t.Error(errs)
	}
	for _, line := range h.Requests()[before:] {
		if strings.Contains(line, "model.safetensors bytes=0-") {
			t.Errorf("begun anew: %s", line)
		}
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestPullTwice: of two pulls at once one waits, says so, and finds the model there.
func TestPullTwice(t *testing.T) {
	h := testHub(t)
	dir := userFolders(t)
	begun := slowDown(h, "bytes=0-")
	first, firstOut, firstErrs := pullProcess(t)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	<-begun
	second, secondOut, secondErrs := pullProcess(t)
	if err := second.Run(); err != nil {
		t.Error(err, secondErrs)
	}
	if err := first.Wait(); err != nil {
		t.Error(err, firstErrs)
	}
	if firstOut.String() == "" || firstOut.String() != secondOut.String() {
		t.Errorf("%q and %q", firstOut, secondOut)
	}
	if text := secondErrs.String(); !strings.Contains(text, "another paligemma is pulling test/two: waiting for it") || !strings.Contains(text, "is there") {
		t.Error(text)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestPullUpdated: when the hub has another commit, the old model stays until --overwrite.
func TestPullUpdated(t *testing.T) {
	h := testHub(t)
	userFolders(t)
	cmd, _, errs := pullProcess(t)
	if err := cmd.Run(); err != nil {
		t.Fatal(err, errs)
	}
	if err := h.AddFolder("test/two", "../../testdata/checkpoints/pg1-tiny"); err != nil {
		t.Fatal(err)
	}
	cmd, out, errs := pullProcess(t)
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || out.Len() > 0 || !strings.Contains(errs.String(), "of an earlier revision") || !strings.Contains(errs.String(), "--overwrite") {
		t.Errorf("code %d: %s", code, errs)
	}
	cmd, out, errs = pullProcess(t)
	cmd.Args = append(cmd.Args, "--overwrite")
	if err := cmd.Run(); err != nil {
		t.Fatal(err, errs)
	}
	code, shown, _ := runArgs(t, t.Context(), false, "show", "two")
	if code != 0 || !strings.Contains(shown, h.Commit("test/two")) {
		t.Errorf("%d, %s", code, shown)
	}
}
