//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// batchOf is a run with --output that may be broken off.
func batchOf(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("paligemma", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PALIGEMMA_MODEL="+fixture(t, "MODEL"), "PALIGEMMA_MAX_TOKENS=6")
	return cmd
}

// drawPictures writes n small pictures, all different.
func drawPictures(t *testing.T, dir string, n int) {
	t.Helper()
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		img := image.NewGray(image.Rect(0, 0, 8, 8))
		for p := range 64 {
			img.SetGray(p%8, p/8, color.Gray{Y: uint8(p * (i + 1))})
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

var batchTimings = regexp.MustCompile(`,"timings":\{[^}]*\}`)

// withoutTimings returns the lines of results, as far as they are the same each time.
func withoutTimings(t *testing.T, paths ...string) []string {
	t.Helper()
	var all []byte
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return strings.Split(batchTimings.ReplaceAllString(string(all), ""), "\n")
}

// waitFor waits until the files of a pattern have more than a number of lines, or a process
// has ended.
func waitFor(pattern string, lines int, ended <-chan error) (more bool) {
	for {
		select {
		case <-ended:
			return false
		default:
		}
		count := 0
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			data, _ := os.ReadFile(path)
			count += bytes.Count(data, []byte("\n"))
		}
		if count > lines {
			return true
		}
		time.Sleep(time.Millisecond)
	}
}

// TestBatchKilled kills a run again and again: in the end the results are those of a
// run that nothing disturbed.
func TestBatchKilled(t *testing.T) {
	dir := t.TempDir()
	drawPictures(t, filepath.Join(dir, "in"), 60)
	if out, err := batchOf(t, dir, "caption", "in", "-o", "whole.jsonl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole := withoutTimings(t, filepath.Join(dir, "whole.jsonl"))
	for _, c := range []struct {
		name, output, journal, result string
		args                          []string
	}{
		{"file", "o.jsonl", "o.jsonl.part", "o.jsonl", nil},
		{"folder", "o", "o/images.jsonl.part", "o/images.jsonl", nil},
		{"files of 8 records", "r", "r/*.jsonl*", "r/*.jsonl", []string{"--records-per-file", "8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kills := 0
			for lines := 3; ; lines += 9 {
				cmd := batchOf(t, dir, append([]string{"caption", "in", "-o", c.output}, c.args...)...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				if !waitFor(filepath.Join(dir, c.journal), lines, ended) {
					break
				}
				if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
				<-ended
				kills++
			}
			paths, err := filepath.Glob(filepath.Join(dir, c.result))
			if err != nil {
				t.Fatal(err)
			}
			if got := withoutTimings(t, paths...); !slices.Equal(got, whole) {
				t.Errorf("after %d kills there are %d lines, other than those of an unbroken run", kills, len(got))
			}
			if kills < 3 {
				t.Errorf("%d kills", kills)
			}
		})
	}
}

// TestBatchInterrupted: SIGINT ends a run in an orderly way, also one that waits for
// more input, and what was answered is there.
func TestBatchInterrupted(t *testing.T) {
	dir := t.TempDir()
	drawPictures(t, filepath.Join(dir, "in"), 3)
	cmd := batchOf(t, dir, "caption", "--files-from", "-", "-o", "o.jsonl")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	fmt.Fprint(in, "in/000.png\nin/001.png\n")
	if !waitFor(filepath.Join(dir, "o.jsonl.part"), 1, ended) {
		t.Fatal("the run has ended: ", errs.String())
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(errs.String(), "2 done") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	again := batchOf(t, dir, "caption", "--files-from", "-", "-o", "o.jsonl")
	again.Stdin = strings.NewReader("in/000.png\nin/001.png\nin/002.png\n")
	if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "3 done") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestRequestsChange: an image that has changed since the line before is read again, and
// one that has not is encoded once.
func TestRequestsChange(t *testing.T) {
	dir := t.TempDir()
	drawPictures(t, filepath.Join(dir, "in"), 2)
	cmd := batchOf(t, dir, "generate", "--requests", "-", "--format", "jsonl", "-q")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewReader(out)
	ask := func() (r struct {
		Error   string
		Timings struct {
			Image float64 `json:"image_ms"`
		}
	}) {
		fmt.Fprintln(in, `{"image":"in/000.png","prompt":"caption en"}`)
		line, err := lines.ReadBytes('\n')
		if err := errors.Join(err, json.Unmarshal(line, &r)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	path := filepath.Join(dir, "in/000.png")
	first, again := ask(), ask()
	if err := os.Rename(filepath.Join(dir, "in/001.png"), path); err != nil {
		t.Fatal(err)
	}
	other := ask()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	gone := ask()
	if again != first || gone.Error == "" || other.Error != "" || other == first {
		t.Errorf("%+v, %+v, %+v, %+v", first, again, gone, other)
	}
	in.Close()
	if code := exitOf(cmd.Wait()); code != exitPartly {
		t.Errorf("exit code %d", code)
	}
}

// TestBatchStream: an answer is there before the next line is written, wherever the
// lines come from.
func TestBatchStream(t *testing.T) {
	fromFIFO := func(t *testing.T, cmd *exec.Cmd) (io.WriteCloser, error) {
		return os.OpenFile(filepath.Join(cmd.Dir, "q.jsonl"), os.O_WRONLY, 0)
	}
	record, line := []string{"-o", "-"}, []string{"--format", "jsonl"}
	for _, c := range []struct {
		name string
		open func(t *testing.T, cmd *exec.Cmd) (io.WriteCloser, error) // after the start
		args []string
		want string
	}{
		{"records, pipe", nil, record, `{"id":"NUMBER","image":"in/000.png"`},
		{"records, FIFO", fromFIFO, record, `{"id":"NUMBER","image":"in/000.png"`},
		{"lines, pipe", nil, line, `{"image":"in/000.png","width":8,"height":8,"line":NUMBER,`},
		{"lines, FIFO", fromFIFO, line, `{"image":"in/000.png","width":8,"height":8,"line":NUMBER,`},
		{"text, pipe", nil, nil, "in/000.png\t"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			drawPictures(t, filepath.Join(dir, "in"), 1)
			cmd := batchOf(t, dir, append([]string{"generate", "--requests", "-"}, c.args...)...)
			var in io.WriteCloser
			var err error
			if c.open == nil {
				in, err = cmd.StdinPipe()
			} else {
				cmd.Args[3] = "q.jsonl"
				fifo(t, filepath.Join(dir, "q.jsonl"))
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			if c.open != nil {
				if in, err = c.open(t, cmd); err != nil {
					t.Fatal(err)
				}
			}
			lines := bufio.NewReader(out)
			for i := range 3 {
				fmt.Fprintf(in, "{\"image\":\"in/000.png\",\"id\":%d,\"prompt\":\"caption en\"}\n", i+1)
				line, err := lines.ReadString('\n')
				want := strings.Replace(c.want, "NUMBER", strconv.Itoa(i+1), 1)
				if err != nil || !strings.HasPrefix(line, want) {
					t.Fatalf("%v: %s, want %s", err, line, want)
				}
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
