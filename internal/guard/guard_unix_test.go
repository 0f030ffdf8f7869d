//go:build unix && cgo

package guard

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"paligemma/internal/emulated"
	"paligemma/internal/quote"
)

// childVariable makes the test binary a process that meets a fault: its value is
// the name of one of faults.
const childVariable = "GUARD_TEST_CHILD"

const pages = 16

var page = os.Getpagesize()

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		faults[name].run(os.Args[1])
		fmt.Println("nothing happened")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// cut maps a file and cuts it.
func cut(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, pages*page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	if err := os.Truncate(path, int64(page)); err != nil {
		panic(err)
	}
	return data
}

func mustGuard(data []byte, path string) (release func()) {
	release, err := Mapping(data, path)
	if err != nil {
		panic(err)
	}
	return release
}

// recovered reads a byte and reports whether that panics.
func recovered(data []byte, at int) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { faulted = recover() != nil }()
	sink += int(data[at])
	return false
}

var sink int

// faults are what the child does.
var faults = map[string]struct {
	run   func(path string)
	code  int
	lines int // on stderr, that of the guard; -1: whatever Go says
}{
	"first byte behind": {func(path string) {
		data := cut(path)
		mustGuard(data, path)
		sink += int(data[0]) + int(data[page-1])
		sink += int(data[page])
	}, ExitCode, 1},
	"last byte": {func(path string) {
		data := cut(path)
		mustGuard(data, path)
		sink += int(data[len(data)-1])
	}, ExitCode, 1},
	"in spite of SetPanicOnFault": {func(path string) {
		data := cut(path)
		mustGuard(data, path)
		recovered(data, 5*page)
	}, ExitCode, 1},
	"many at once": {func(path string) {
		data := cut(path)
		mustGuard(data, path)
		var all sync.WaitGroup
		var mu sync.Mutex
		for i := range 64 {
			all.Go(func() {
				b := data[page*(1+i%(pages-1))]
				mu.Lock()
				defer mu.Unlock()
				sink += int(b)
			})
		}
		all.Wait()
	}, ExitCode, 1},
	"the second of three": {func(path string) {
		other := make([]byte, 100)
		mustGuard(other, "first")
		data := cut(path)
		mustGuard(data, path)
		mustGuard(other, "third")
		sink += int(data[2*page])
	}, ExitCode, 1},
	"a place used again": {func(path string) {
		for range 100 {
			mustGuard(make([]byte, 100), "other")()
		}
		data := cut(path)
		mustGuard(data, path)
		sink += int(data[2*page])
	}, ExitCode, 1},
	"not guarded": {func(path string) {
		mustGuard(make([]byte, 100), path)
		if !recovered(cut(path), 2*page) {
			panic("no fault")
		}
	}, 0, 0},
	"released": {func(path string) {
		data := cut(path)
		mustGuard(data, path)()
		if !recovered(data, 2*page) {
			panic("no fault")
		}
	}, 0, 0},
	"not guarded, not recovered": {func(path string) {
		mustGuard(make([]byte, 100), path)
		sink += int(cut(path)[2*page])
	}, 2, -1},
	"sent by another": {func(path string) {
		mustGuard(make([]byte, 100), path)
		syscall.Kill(os.Getpid(), syscall.SIGBUS)
		select {}
	}, 2, -1},
}

func TestFaults(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "model\x1b[31m.gguf")
			if err := os.WriteFile(path, make([]byte, pages*page), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := emulated.Command(os.Args[0], path)
			cmd.Env = append(os.Environ(), childVariable+"="+name)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != fault.code {
				t.Errorf("exit code %d, want %d: %q", code, fault.code, errs.String())
			}
			text := errs.String()
			if fault.lines >= 0 && strings.Count(text, "\n") != fault.lines {
				t.Errorf("stderr is %q", text)
			}
			if fault.lines == 1 && !strings.HasPrefix(text, "paligemma: "+quote.Line(path, maxPath)+" was cut short") {
				t.Errorf("stderr is %q", text)
			}
		})
	}
}
