package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childrenOf returns the processes that a process has started.
func childrenOf(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		for id := range strings.FieldsSeq(string(data)) {
			if n, err := strconv.Atoi(id); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// workersOf is a run with two workers that has begun.
func workersOf(t *testing.T, dir string, errs *bytes.Buffer, args ...string) (cmd *exec.Cmd, ended chan error) {
	t.Helper()
	cmd = batchOf(t, dir, append([]string{"caption", "in", "--workers", "2"}, args...)...)
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return cmd, ended
}

// TestWorkerProcesses: the processes of a run write together what one writes, whatever
// happens to them.
func TestWorkerProcesses(t *testing.T) {
	dir := t.TempDir()
	drawPictures(t, filepath.Join(dir, "in"), 240)
	if out, err := batchOf(t, dir, "caption", "in", "-o", "whole.jsonl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole := withoutTimings(t, filepath.Join(dir, "whole.jsonl"))
	for _, c := range []struct {
		name  string
		after int // lines
		do    func(t *testing.T, cmd *exec.Cmd, workers []int)
		code  int // of the run, which another one follows if it is not 0
		want  string
	}{
		{"nothing", 0, func(*testing.T, *exec.Cmd, []int) {}, exitOK, "240 done"},
		{"a worker is killed", 9, func(t *testing.T, _ *exec.Cmd, workers []int) {
			kill(t, workers[0], syscall.SIGKILL)
		}, exitOK, "240 done"},
		{"both workers are killed", 15, func(t *testing.T, _ *exec.Cmd, workers []int) {
			kill(t, workers[0], syscall.SIGKILL)
			kill(t, workers[1], syscall.SIGKILL)
		}, exitOK, "240 done"},
		{"Ctrl-C, which comes to all", 5, func(t *testing.T, cmd *exec.Cmd, workers []int) {
			for _, pid := range append(workers, cmd.Process.Pid) {
				kill(t, pid, syscall.SIGINT)
			}
		}, exitInterrupted, "stopping"},
		{"the run is killed", 5, func(t *testing.T, cmd *exec.Cmd, _ []int) { kill(t, cmd.Process.Pid, syscall.SIGKILL) }, -1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs bytes.Buffer
			output := strconv.Itoa(c.after) + c.name[:3] + ".jsonl"
			cmd, ended := workersOf(t, dir, &errs, "-o", output)
			if !waitFor(filepath.Join(dir, output+".part"), c.after, ended) {
				t.Fatal("the run has ended: ", errs.String())
			}
			workers := childrenOf(cmd.Process.Pid)
			if len(workers) != 2 {
				t.Fatalf("%d workers", len(workers))
			}
			c.do(t, cmd, workers)
			<-ended
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(errs.String(), c.want) {
				t.Errorf("exit code %d: %s", code, errs.String())
			}
			for _, pid := range workers {
				for range 300 {
					if syscall.Kill(pid, 0) != nil {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				if syscall.Kill(pid, 0) == nil {
					t.Errorf("worker %d is still there", pid)
				}
			}
			if c.code != exitOK {
				if out, err := batchOf(t, dir, "caption", "in", "--workers", "3", "-o", output).CombinedOutput(); err != nil || strings.Contains(string(out), "another") {
					t.Errorf("%v: %s", err, out)
				}
			}
			if got := withoutTimings(t, filepath.Join(dir, output)); !slices.Equal(got, whole) {
				t.Errorf("%d lines, other than those of one process", len(got))
			}
		})
	}
}

func kill(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
}

// TestReadNodes reads the processors of nodes of memory.
func TestReadNodes(t *testing.T) {
	for _, c := range []struct {
		name string
		list []string
		may  func(int) bool
		want [][]int
	}{
		{"one", []string{"0-3\n"}, func(int) bool { return true }, [][]int{{0, 1, 2, 3}}},
		{"two", []string{"0-1,4\n", "2,3,5-6\n"}, func(int) bool { return true }, [][]int{{0, 1, 4}, {2, 3, 5, 6}}},
		{"memory alone", []string{"0-1\n", "\n", "2-3\n"}, func(int) bool { return true }, [][]int{{0, 1}, {2, 3}}},
		{"bound to one", []string{"0-1\n", "2-3\n"}, func(p int) bool { return p < 2 }, [][]int{{0, 1}}},
		{"nonsense", []string{"x-1,2-y,0-1\n"}, func(int) bool { return true }, [][]int{{0, 1}}},
		{"none", nil, func(int) bool { return true }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, list := range c.list {
				node := filepath.Join(dir, fmt.Sprintf("node%d", i))
				if err := os.Mkdir(node, 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(node, "cpulist"), []byte(list), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if got := readNodes(dir, c.may); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestStartOn: a process runs where it is bound to, and the one that starts it everywhere.
func TestStartOn(t *testing.T) {
	status := func() string {
		data, err := os.ReadFile("/proc/thread-self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(data), "Cpus_allowed_list:")
		line, _, _ := strings.Cut(after, "\n")
		return strings.TrimSpace(line)
	}
	before := status()
	first := parseProcessors(before)[0]
	cmd := exec.Command("grep", "Cpus_allowed_list", "/proc/self/status")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := startOn(cmd, []int{first}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, list, _ := strings.Cut(out.String(), ":"); strings.TrimSpace(list) != strconv.Itoa(first) {
		t.Errorf("it runs on %s, want %d", list, first)
	}
	if after := status(); after != before {
		t.Errorf("%s before and %s after", before, after)
	}
}

// TestShare: workers divide the threads.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		value string
		asked int
		want  int // 0: the value means nothing
	}{{"2/2", 8, 4}, {"1/2", 8, 4}, {"4/4", 3, 1}, {"x", 0, 0}, {"", 0, 0}, {"0/2", 0, 0}, {"3/2", 0, 0}, {"256/256", 0, 1}} {
		t.Run(c.value, func(t *testing.T) {
			t.Setenv(workerVariable, c.value)
			s, ok := readShare()
			if ok != (c.want > 0) || ok && s.threads(c.asked) != c.want {
				t.Errorf("%+v, %v, want %d threads", s, ok, c.want)
			}
		})
	}
}
