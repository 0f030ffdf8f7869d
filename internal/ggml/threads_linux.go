package ggml

// #include "barrier.h"
import "C"

import "golang.org/x/sys/unix"

// barrierSleeps returns how often threads fell asleep in ggml's barriers.
func barrierSleeps() int { return int(C.pg_barrier_sleeps()) }

// affinity lists the CPUs that the process may run on.
func affinity() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}
