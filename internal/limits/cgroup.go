package limits

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// groups lists the folders of the cgroups that the process is in, version 2 and the
// version 1 of a controller, each from its own up to the root of what is mounted. A
// limit of any of them holds.
func groups(root fs.FS, controller string) []string {
	var dirs []string
	mounts := read(root, "proc/self/mountinfo")
	for line := range strings.Lines(read(root, "proc/self/cgroup")) {
		// ID:CONTROLLERS:PATH
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		v2 := fields[0] == "0" && fields[1] == ""
		if v2 {
			dirs = append(dirs, chain(mounts, "", fields[2])...)
		} else if contains(fields[1], controller) {
			dirs = append(dirs, chain(mounts, controller, fields[2])...)
		}
	}
	return dirs
}

// chain lists the folders of a cgroup and those above it in the mounts of a
// version 1 controller, or of version 2 if it is "".
func chain(mounts, controller, group string) (dirs []string) {
	for line := range strings.Lines(mounts) {
		// ID PARENT DEV ROOT POINT OPTIONS… - TYPE SOURCE SUPEROPTIONS
		before, after, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 {
			continue
		}
		if controller == "" && right[0] != "cgroup2" || controller != "" && (right[0] != "cgroup" || !contains(right[2], controller)) {
			continue
		}
		point := strings.TrimPrefix(path.Clean(unescape(left[4])), "/")
		for dir := below(unescape(left[3]), group); ; dir = path.Dir(dir) {
			dirs = append(dirs, path.Join(point, dir))
			if dir == "/" {
				return dirs
			}
		}
	}
	return nil
}

// below is the path of a cgroup in a mount that shows root and what is in it. A
// group outside of it is seen as the mount itself, as containers have it.
func below(root, group string) string {
	group = path.Clean("/" + group)
	if root = path.Clean("/" + root); root != "/" {
		rest, inside := strings.CutPrefix(group+"/", root+"/")
		if !inside {
			return "/"
		}
		group = path.Clean("/" + rest)
	}
	return group
}

// contains reports whether a list with commas has a word.
func contains(list, word string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if part == word {
			return true
		}
	}
	return false
}

// unescape undoes how mountinfo writes spaces and their like: \040.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// read is the text of a small file; "" if there is none.
func read(root fs.FS, name string) string {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data)) + "\n"
}

// number is the number in a file, or after a key in a table of "key number" lines.
func number(root fs.FS, name, key string) (n int64, ok bool) {
	for line := range strings.Lines(read(root, name)) {
		fields := strings.Fields(line)
		if key != "" {
			if len(fields) < 2 || fields[0] != key {
				continue
			}
			fields = fields[1:]
		}
		if len(fields) == 0 {
			return 0, false
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		return n, err == nil
	}
	return 0, false
}
