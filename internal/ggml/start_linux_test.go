package ggml

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"paligemma/internal/emulated"
)

// childVariable makes the test binary a program that uses the devices of plug-ins: its
// value is one of uses. It also says what is not used.
const childVariable = "GGML_TEST_CHILD"

// uses are what a child does. Crashes end it.
var uses = map[string]func(Device){
	"start": func(d Device) {
		fmt.Println(d.Starts())
		fmt.Println(Unstarted())
		found, err := FindDevices("auto")
		fmt.Println(Names(found), err)
		for range 2 { // it stays what it is
			_, err = NewBackend(Options{Device: d.Name})
			fmt.Println(err)
		}
	},
	"host":   func(d Device) { fmt.Println(d.Name, d.hostType() != nil) },
	"memory": func(d Device) { d.Memory() },
	"memory at once": func(d Device) {
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() { d.Memory() })
		}
		all.Wait()
	},
	"fault in Go": func(Device) {
		defer func() { fmt.Println(recover()) }()
		var nowhere *Device
		fmt.Println(nowhere.Name)
	},
	"outlive": func(d Device) {
		lost := Lost()
		go d.Memory()
		<-lost
		fmt.Println(ErrLost)
	},
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		for _, d := range Devices() {
			if d.Kind != KindCPU {
				uses[name](d)
			}
		}
		for _, p := range Plugins() {
			if p.Problem != "" {
				fmt.Println(p.Path, "is not used:", p.Problem)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestEndsUnread ends a process whose line goes into a pipe that is full and that nobody reads.
func TestEndsUnread(t *testing.T) {
	dir := t.TempDir()
	fakePlugin(t, filepath.Join(dir, fakeName+tree[:treeLength]+".so"), `TREE="`+tree+`"`, "API=3", "DEVICES=1", "OPEN=abort")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd := int(w.Fd())
	for err = syscall.SetNonblock(fd, true); err == nil; {
		_, err = syscall.Write(fd, make([]byte, 4096))
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	cmd := emulated.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=start", PluginFolders+"="+dir)
	cmd.Stderr = w
	late := time.AfterFunc(time.Minute, func() { r.Close() }) // a broken pipe has it go on
	defer late.Stop()
	if err := cmd.Run(); !late.Stop() || cmd.ProcessState.ExitCode() != 1 {
		t.Error(err)
	}
}

// TestBrokenDrivers has devices that do not start, and drivers that throw exceptions or
// crash: an error where there is a way back, else one line.
func TestBrokenDrivers(t *testing.T) {
	unstarted := func(why string) string {
		line := "device empty0 does not start: " + why + "\n"
		return line + "[" + strings.TrimSpace(line) + "]\ncpu <nil>\n" + line + line
	}
	crashed := func(signal string) string {
		return "paligemma: a GPU's driver crashed (" + signal + "): update it, or do without it (--device cpu, or PALIGEMMA_BACKENDS= in the environment)\n"
	}
	for name, c := range map[string]struct {
		use     string
		defines []string
		out     string
		err     string // and exit status 1
	}{
		"half open":       {"start", []string{"OPEN=once"}, unstarted("the driver is broken"), ""},
		"says why":        {"start", []string{"OPEN=fail", `CERR="device EMPTY0 has no "`}, unstarted("device EMPTY0 has no 1"), ""},
		"throws":          {"start", []string{"OPEN=fail"}, unstarted("the driver is broken"), ""},
		"is silent":       {"start", []string{"OPEN=nothing"}, unstarted("its driver does not say why"), ""},
		"faults":          {"start", []string{"OPEN=crash"}, "", crashed("SIGSEGV")},
		"aborts":          {"start", []string{"OPEN=abort"}, "", crashed("SIGABRT")},
		"faults at once":  {"memory at once", []string{"MEMORY=crash"}, "", crashed("SIGSEGV")},
		"aborts at once":  {"memory at once", []string{"MEMORY=abort"}, "", crashed("SIGABRT")},
		"is not at fault": {"fault in Go", nil, "runtime error: invalid memory address or nil pointer dereference\n", ""},
		"throws later": {"memory", []string{"MEMORY=fail"}, "",
			"paligemma: the GPU does not compute any more: its memory is used up or its driver failed (the driver is broken); try a smaller model, or --device cpu\n"},
		"throws later, outlived": {"outlive", []string{"MEMORY=fail"}, ErrLost.Error() + "\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			defines := append([]string{`TREE="` + tree + `"`, "API=3", "DEVICES=1"}, c.defines...)
			fakePlugin(t, filepath.Join(dir, fakeName+tree[:treeLength]+".so"), defines...)
			cmd := emulated.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"="+c.use, PluginFolders+"="+dir)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var exit *exec.ExitError
			if failed := errors.As(err, &exit) && exit.ExitCode() == 1; failed != (c.err != "") || err != nil && !failed {
				t.Errorf("ends with %v", err)
			}
			if string(out) != c.out {
				t.Errorf("prints\n%swant\n%s", out, c.out)
			}
			if stderr.String() != c.err {
				t.Errorf("stderr %q, want %q", stderr.String(), c.err)
			}
		})
	}
}

// TestHostMemory has two devices of a backend: the second one of Vulkan does without the
// memory of the first.
func TestHostMemory(t *testing.T) {
	for backend, want := range map[string]string{"Vulkan": "empty0 true\nempty1 false\n", "CUDA": "empty0 true\nempty1 true\n"} {
		t.Run(backend, func(t *testing.T) {
			dir := t.TempDir()
			fakePlugin(t, filepath.Join(dir, fakeName+tree[:treeLength]+".so"), `TREE="`+tree+`"`, "API=3", "DEVICES=2", `NAME="`+backend+`"`)
			cmd := emulated.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"=host", PluginFolders+"="+dir)
			if out, err := cmd.Output(); err != nil || string(out) != want {
				t.Errorf("%v, prints\n%swant\n%s", err, out, want)
			}
		})
	}
}
