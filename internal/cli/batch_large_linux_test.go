package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// resident returns the memory of a process, in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// position returns how far a process has read a file that it has open.
func position(t *testing.T, pid int, path string) int64 {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || to != path {
			continue
		}
		data, err := os.ReadFile(strings.Replace(link, "/fd/", "/fdinfo/", 1))
		if err != nil {
			t.Fatal(err)
		}
		pos, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return pos
	}
	t.Fatalf("%s is not open", path)
	return 0
}

// TestBatchLargeList: of a list of a million lines the first record is there before the
// list was read, memory does not grow with the records, and a run that was interrupted
// goes on without asking again.
func TestBatchLargeList(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	drawPictures(t, filepath.Join(dir, "in"), 3)
	list, journal := filepath.Join(dir, "list"), filepath.Join(dir, "o.jsonl.part")
	var names bytes.Buffer
	for i := range 1_000_000 {
		fmt.Fprintf(&names, "in/00%d.png\n", i%3)
	}
	if err := os.WriteFile(list, names.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	const early, late, more = 200, 800, 200
	var first int64
	records := 0
	for _, run := range []struct {
		name  string
		lines int // until it is interrupted
	}{{"begun", late}, {"resumed", late + more}} {
		cmd := batchOf(t, dir, "caption", "--files-from", "list", "-o", "o.jsonl", "--max-tokens", "1", "-q")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		defer cmd.Process.Kill()
		wait := func(lines int) {
			for len(ended) == 0 && linesIn(journal) < lines {
				time.Sleep(5 * time.Millisecond)
			}
			if len(ended) > 0 {
				t.Fatalf("%s: ended with %d lines", run.name, linesIn(journal))
			}
		}
		wait(records + 1)
		if pos := position(t, cmd.Process.Pid, list); pos > int64(names.Len()/10) {
			t.Errorf("%s: %d bytes of the list were read for the first record", run.name, pos)
		}
		if first == 0 {
			wait(early)
			first = resident(t, cmd.Process.Pid)
		}
		wait(run.lines)
		if now := resident(t, cmd.Process.Pid); now > first+16<<20 {
			t.Errorf("%s: %d bytes are resident, were %d after %d records", run.name, now, first, early)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		<-ended
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("%s: exit code %d", run.name, code)
		}
		records = linesIn(journal)
	}
	data, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(data) {
		if want := fmt.Sprintf(`{"id":"in/00%d.png",`, n%3); !bytes.HasPrefix(line, []byte(want)) {
			t.Fatalf("record %d: %s, want %s", n, line, want)
		}
		n++
	}
}
