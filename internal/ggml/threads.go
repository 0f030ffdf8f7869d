package ggml

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// DefaultThreads is the number of physical cores available to the process: its
// CPU affinity and its cgroup's quota count (the Go runtime knows both), and
// hyper-threads of one core count once, for they share the units that a
// matrix product keeps busy.
func DefaultThreads() int {
	n := min(runtime.NumCPU(), runtime.GOMAXPROCS(0))
	if cores := physicalCores(); cores > 0 {
		n = min(n, cores)
	}
	return max(1, min(n, maxThreads))
}

// physicalCores counts distinct groups of sibling threads among the CPUs that
// Linux shows; 0 where it does not say.
func physicalCores() int {
	groups := map[string]bool{}
	for cpu := range 4096 {
		data, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
		if err != nil {
			break
		}
		groups[strings.TrimSpace(string(data))] = true
	}
	return len(groups)
}
