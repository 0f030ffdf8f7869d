//go:build unix

package cli

import "syscall"

// umask sets which permissions new files lack, and returns the old ones.
func umask(mask int) int { return syscall.Umask(mask) }
