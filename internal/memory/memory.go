// Package memory says how much memory the process may still use.
package memory

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// fallback is assumed where the system does not tell.
const fallback = 4 << 30

// Available returns the bytes that can be allocated without swapping, as far as
// the system and the control groups of the process (v1 and v2) allow. It is an
// estimate: other processes use memory, too.
func Available() int64 { return available(os.DirFS("/")) }

func available(root fs.FS) int64 {
	free, ok := field(root, "proc/meminfo", "MemAvailable:")
	if !ok {
		return fallback
	}
	free *= 1024 // it is in kB
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return free
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[1] == "":
			free = min(free, v2.room(root, parts[2]))
		case hasController(parts[1], "memory"):
			free = min(free, v1.room(root, parts[2]))
		}
	}
	return max(free, 0)
}

func hasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}

// version is where a version of control groups keeps its numbers.
type version struct {
	mount, limit, usage, cache string
}

var (
	v2 = version{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"}
	v1 = version{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
)

// room returns what a group and those around it leave. In a container the path
// may be one of the host, of which only the mount point is visible.
func (v version) room(root fs.FS, group string) int64 {
	const unlimited = int64(1) << 62
	least := unlimited
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		at := path.Join(v.mount, dir)
		if limit, ok := number(root, path.Join(at, v.limit)); ok && limit < unlimited {
			used, _ := number(root, path.Join(at, v.usage))
			cache, _ := field(root, path.Join(at, "memory.stat"), v.cache)
			least = min(least, limit-max(used-cache, 0))
		}
		if dir == "/" {
			return least
		}
	}
}

// number reads a file that holds one; "max" is none.
func number(root fs.FS, name string) (int64, bool) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	return n, err == nil && n >= 0
}

// field reads the number after a name in a file of such lines.
func field(root fs.FS, file, name string) (int64, bool) {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) >= 2 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n, err == nil && n >= 0
		}
	}
	return 0, false
}
