//go:build unix

package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// streams are the ways of lines into a process. Each starts it, and returns what to write
// the lines to; "REQUESTS" in its arguments becomes the name to read.
var streams = []struct {
	name  string
	start func(t *testing.T, cmd *exec.Cmd) io.WriteCloser
}{
	{"standard input is a pipe", func(t *testing.T, cmd *exec.Cmd) io.WriteCloser {
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		startReading(t, cmd, "-")
		return in
	}},
	{"standard input is a FIFO", func(t *testing.T, cmd *exec.Cmd) io.WriteCloser {
		path := filepath.Join(cmd.Dir, "q")
		fifo(t, path)
		in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // which waits for nobody
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		cmd.Stdin = in
		startReading(t, cmd, "-")
		return openToWrite(t, path)
	}},
	{"FIFO with a name", func(t *testing.T, cmd *exec.Cmd) io.WriteCloser {
		path := filepath.Join(cmd.Dir, "q.jsonl")
		fifo(t, path)
		startReading(t, cmd, path)
		return openToWrite(t, path)
	}},
	{"pipe with a name", func(t *testing.T, cmd *exec.Cmd) io.WriteCloser { // as <(…) of a shell
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd.ExtraFiles = []*os.File{out}
		startReading(t, cmd, "/dev/fd/3")
		return in
	}},
}

// startReading starts a process that reads requests from a file.
func startReading(t *testing.T, cmd *exec.Cmd, requests string) {
	t.Helper()
	for i, arg := range cmd.Args {
		if arg == "REQUESTS" {
			cmd.Args[i] = requests
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// openToWrite opens a FIFO, which somebody reads or will read.
func openToWrite(t *testing.T, path string) io.WriteCloser {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestBatchStreams: an answer is there before the next line is written, wherever the
// lines come from.
func TestBatchStreams(t *testing.T) {
	for _, stream := range streams {
		for _, c := range []struct {
			name string
			args []string
		}{
			{"output", []string{"generate", "--requests", "REQUESTS", "-o", "-"}},
			{"lines", []string{"generate", "--requests", "REQUESTS", "--format", "jsonl"}},
		} {
			t.Run(stream.name+", "+c.name, func(t *testing.T) {
				dir := t.TempDir()
				drawPictures(t, filepath.Join(dir, "in"), 3)
				cmd := batchOf(t, dir, c.args...)
				pipe, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				in := stream.start(t, cmd)
				defer cmd.Process.Kill()
				lines := bufio.NewReader(pipe)
				for i := range 3 {
					// An absolute path: those in a file start from its folder.
					fmt.Fprintf(in, "{\"image\":\"%s/in/00%d.png\",\"prompt\":\"caption %d\"}\n", dir, i, i)
					line, err := lines.ReadString('\n')
					if want := fmt.Sprintf(`"prompt":"caption %d"`, i); err != nil || !strings.Contains(line, want) || strings.Contains(line, `"error"`) {
						t.Fatalf("%v: %s, want %s", err, line, want)
					}
				}
				if err := in.Close(); err != nil {
					t.Error(err)
				}
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
