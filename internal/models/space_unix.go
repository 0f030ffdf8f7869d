//go:build linux || darwin

package models

import "golang.org/x/sys/unix"

// freeSpace returns how many bytes can be written in a folder, and a number of the
// file system; ok is false where that is not known.
func freeSpace(dir string) (bytes int64, device uint64, ok bool) {
	var fs unix.Statfs_t
	var info unix.Stat_t
	if unix.Statfs(dir, &fs) != nil || unix.Stat(dir, &info) != nil {
		return 0, 0, false
	}
	return int64(fs.Bavail) * int64(fs.Bsize), uint64(info.Dev), true
}
