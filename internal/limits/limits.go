// Package limits finds out how much of the machine the process may use: cgroups of
// both versions (containers, systemd), resource limits (ulimit) and what is free.
//
// On Linux with cgo a constructor in C (start_linux.go) ends a program that has this
// package with one line, before Go's runtime starts, if a resource limit is too low
// for that. It keeps malloc to one arena.
package limits

import (
	"io/fs"
	"math"
	"os"
	"path"
	"strings"
)

// Unlimited stands for no limit, and for one that is not known.
const Unlimited = math.MaxInt64

// root is what the paths of this package are read from.
func root() fs.FS { return os.DirFS("/") }

// CPUs returns the CPU time that the process may use, in CPUs and rounded up, at
// least 1; Unlimited without a quota.
func CPUs() int { return cpus(root()) }

func cpus(root fs.FS) int {
	least := Unlimited
	for _, dir := range groups(root, "cpu") {
		var quota, period int64
		var ok, known bool
		if text := read(root, path.Join(dir, "cpu.max")); text != "" { // "max 100000"
			quota, ok = number(root, path.Join(dir, "cpu.max"), "")
			if fields := strings.Fields(text); ok && len(fields) > 1 {
				period, known = number(root, path.Join(dir, "cpu.max"), fields[0])
			}
		} else {
			quota, ok = number(root, path.Join(dir, "cpu.cfs_quota_us"), "")
			period, known = number(root, path.Join(dir, "cpu.cfs_period_us"), "")
		}
		if ok && known && quota > 0 && period > 0 {
			least = min(least, int(1+(quota-1)/period))
		}
	}
	return least
}

// Memory is what the process can still get, in bytes; Unlimited where not known.
type Memory struct {
	// Physical is what the machine and the cgroups have left. Pages of files count as
	// free, for they can be read again.
	Physical int64
	// Address is left of the address space (ulimit -v): mapped files count.
	Address int64
	// Data is left of the data segment (ulimit -d): only memory of one's own counts.
	Data int64
}

// FreeMemory returns what the process can still get.
func FreeMemory() Memory {
	m := Memory{Physical: physical(root()), Address: Unlimited, Data: Unlimited}
	space, data := resourceLimits()
	const status, kib = "proc/self/status", 1024
	if used, ok := number(root(), status, "VmSize:"); ok && space != Unlimited {
		m.Address = max(0, space-used*kib)
	}
	if used, ok := number(root(), status, "VmData:"); ok && data != Unlimited {
		m.Data = max(0, data-used*kib)
	}
	return m
}

func physical(root fs.FS) int64 {
	least := int64(Unlimited)
	if n, ok := number(root, "proc/meminfo", "MemAvailable:"); ok && n < Unlimited/1024 {
		least = n * 1024
	}
	for _, dir := range groups(root, "memory") {
		for _, kind := range []struct {
			limits []string
			used   string
			stat   []string
		}{
			{limits: []string{"memory.max", "memory.high"}, used: "memory.current", stat: []string{"inactive_file", "active_file"}},
			{limits: []string{"memory.limit_in_bytes"}, used: "memory.usage_in_bytes", stat: []string{"total_inactive_file", "total_active_file"}},
		} {
			used, ok := number(root, path.Join(dir, kind.used), "")
			if !ok {
				continue
			}
			for _, key := range kind.stat {
				n, _ := number(root, path.Join(dir, "memory.stat"), key)
				used -= n
			}
			for _, name := range kind.limits {
				if limit, ok := number(root, path.Join(dir, name), ""); ok {
					least = min(least, max(0, limit-max(0, used)))
				}
			}
		}
	}
	return least
}
