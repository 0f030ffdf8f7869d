//go:build unix && !linux

package bench

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// peakRSS is the most memory that the process had in use, in bytes; 0 if it is
// not known.
func peakRSS() int64 {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(usage.Maxrss) // bytes there, KiB elsewhere
	}
	return int64(usage.Maxrss) << 10
}
