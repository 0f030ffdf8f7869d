package bench

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// peakRSS is the most memory that the process had in use, in bytes, mapped
// files included; 0 if it is not known. VmHWM and not getrusage's ru_maxrss:
// the latter counts what the process that started this one used, too.
func peakRSS() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		value, ok := strings.CutPrefix(lines.Text(), "VmHWM:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}
