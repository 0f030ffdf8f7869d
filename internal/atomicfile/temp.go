package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	maxTries = 100
	maxBase  = 100 // bytes of an output's name in a temporary one: some file systems stop at 255
)

// names are the temporary names of this process. Whatever makes, renames or
// removes one does so under the lock.
var names = struct {
	sync.Mutex
	open  map[string]bool
	stale map[string]map[string][]string // folder → output → what lay there when first looked
}{open: map[string]bool{}, stale: map[string]map[string][]string{}}

// RemoveAll removes the temporary files of this process and lets it make no more:
// for a process that ends now, whatever its goroutines are doing. It waits so long
// for one that is naming a file, at most.
func RemoveAll(wait time.Duration) {
	const step = time.Millisecond
	for !names.TryLock() { // and never unlocks
		if wait -= step; wait < 0 {
			return
		}
		time.Sleep(step)
	}
	for name := range names.open {
		os.Remove(name)
	}
}

// tempBase is the part of temporary names that says whose they are.
func tempBase(path string) string {
	base := filepath.Base(path)
	if len(base) > maxBase {
		base = strings.ToValidUTF8(base[:maxBase], "")
	}
	return base
}

var tempPattern = regexp.MustCompile(`^\.(.+)\.[0-9a-f]{8}\.tmp$`)

// tempName is a new hidden name next to path.
func tempName(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x.tmp", tempBase(path), rand.Uint32()))
}

// openNamed opens a new hidden file next to path and locks it. Unlike
// os.CreateTemp it leaves the mode to the umask.
func openNamed(path string) (*os.File, error) {
	names.Lock()
	defer names.Unlock()
	for try := 0; ; try++ {
		name := tempName(path)
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) && try < maxTries {
			continue
		}
		if err != nil {
			return nil, err
		}
		names.open[name] = true
		// Another process may have taken it for stale before it was locked.
		if err := tryLock(file); errors.Is(err, ErrLocked) || !isAt(file, name) {
			delete(names.open, name)
			file.Close()
			os.Remove(name)
			if try < maxTries {
				continue
			}
			return nil, fs.ErrExist
		}
		return file, nil
	}
}

// ErrLocked says that another process holds a lock.
var ErrLocked = errors.New("another process is writing it")

// Lock locks a file until it is closed, where the file system has locks. The error is
// ErrLocked if another open file holds the lock.
func Lock(file *os.File) error {
	if err := tryLock(file); errors.Is(err, ErrLocked) {
		return err
	}
	return nil
}

// isAt reports whether a name is that of an open file.
func isAt(file *os.File, name string) bool {
	info, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(name)
	return err == nil && os.SameFile(info, there)
}

func removeNamed(name string) {
	names.Lock()
	defer names.Unlock()
	os.Remove(name)
	delete(names.open, name)
}

// removeStale removes the temporary files of path that no process holds. A folder
// is listed once in a run, which may write many files there.
func removeStale(path string) {
	dir := filepath.Dir(path)
	names.Lock()
	defer names.Unlock()
	stale, listed := names.stale[dir]
	if !listed {
		stale = listTemps(dir)
		names.stale[dir] = stale
	}
	for _, name := range stale[tempBase(path)] {
		if !names.open[name] {
			removeUnlocked(name)
		}
	}
	delete(stale, tempBase(path))
}

// listTemps lists a folder's temporary files by their output.
func listTemps(dir string) map[string][]string {
	found := map[string][]string{}
	d, err := os.Open(dir)
	if err != nil {
		return found
	}
	defer d.Close()
	for {
		list, err := d.Readdirnames(1000)
		for _, name := range list {
			if m := tempPattern.FindStringSubmatch(name); m != nil {
				found[m[1]] = append(found[m[1]], filepath.Join(dir, name))
			}
		}
		if err != nil {
			return found
		}
	}
}

// removeUnlocked removes a regular file unless a process holds its lock, or none
// can be had.
func removeUnlocked(name string) {
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if tryLock(file) == nil && isAt(file, name) {
		os.Remove(name)
	}
}
