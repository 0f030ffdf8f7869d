package ggml

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"paligemma/internal/limits"
)

// MaxThreads is the largest number of threads that a Backend takes: more than
// a few for each CPU only fight each other.
func MaxThreads() int {
	const most = 512 // GGML_MAX_N_THREADS
	return min(most, max(16, 4*runtime.NumCPU()))
}

// DefaultThreads is the number of physical cores available to the process: its
// CPU affinity and its cgroups' quotas count (rounded up; the Go runtime never goes
// below 2), and hyper-threads of one core count once, for they share the units that
// a matrix product keeps busy.
func DefaultThreads() int {
	n := min(runtime.NumCPU(), runtime.GOMAXPROCS(0), limits.CPUs())
	if cores := physicalCores(affinity(), siblings); cores > 0 {
		n = min(n, cores)
	}
	return max(1, min(n, MaxThreads()))
}

// spareThreads are left to Go, which ends the process where it gets none.
const spareThreads = 6

// granted returns how many of n threads the system starts, the calling one counted
// and the others twice (for ggml's pool and the team), with some to spare. startable
// says how many of a number it starts now.
func granted(n int, startable func(n int) int) int {
	if n == 1 {
		return 1
	}
	wanted := 2*(n-1) + spareThreads
	if started := startable(wanted); started < wanted {
		return max(1, 1+(started-spareThreads)/2)
	}
	return n
}

// physicalCores counts the distinct groups of sibling threads among cpus; 0 if
// nothing is known of any of them.
func physicalCores(cpus []int, siblings func(cpu int) string) int {
	groups := map[string]bool{}
	for _, cpu := range cpus {
		if group := siblings(cpu); group != "" {
			groups[group] = true
		}
	}
	return len(groups)
}

// siblings is what Linux says of the threads that share a core with cpu.
func siblings(cpu int) string {
	data, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
