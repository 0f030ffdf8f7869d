//go:build linux || darwin || freebsd

package limits

import "golang.org/x/sys/unix"

// resourceLimits returns the limits of address space and data segment.
func resourceLimits() (space, data int64) {
	return resourceLimit(unix.RLIMIT_AS), resourceLimit(unix.RLIMIT_DATA)
}

func resourceLimit(which int) int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(which, &limit) != nil {
		return Unlimited
	}
	return int64(min(uint64(limit.Cur), Unlimited))
}
