package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// nodesFolder has a folder for each node of memory.
const nodesFolder = "/sys/devices/system/node"

// memoryNodes returns the processors next to each node of memory, as far as this process
// may run on them; fewer than two where there is nothing to choose.
func memoryNodes() [][]int {
	var mine unix.CPUSet
	if unix.SchedGetaffinity(0, &mine) != nil {
		return nil
	}
	return readNodes(nodesFolder, mine.IsSet)
}

// readNodes reads the processors of nodes, in the order of their numbers.
func readNodes(dir string, may func(processor int) bool) (nodes [][]int) {
	for n := 0; ; n++ {
		list, err := os.ReadFile(filepath.Join(dir, "node"+strconv.Itoa(n), "cpulist"))
		if err != nil {
			return nodes
		}
		var node []int
		for _, p := range parseProcessors(string(list)) {
			if may(p) {
				node = append(node, p)
			}
		}
		if len(node) > 0 { // others have memory alone
			nodes = append(nodes, node)
		}
	}
}

// maxProcessors bounds the number of a processor.
const maxProcessors = 1 << 16

// parseProcessors reads a list such as 0-3,8,10-11.
func parseProcessors(list string) (all []int) {
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, several := strings.Cut(part, "-")
		low, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		high := low
		if several {
			if high, err = strconv.Atoi(last); err != nil {
				continue
			}
		}
		for p := low; p <= min(high, maxProcessors); p++ {
			all = append(all, p)
		}
	}
	return all
}

// startOn starts a process on some processors, which it inherits from the thread that
// starts it; on all if there are none.
func startOn(cmd *exec.Cmd, processors []int) error {
	if len(processors) == 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return cmd.Start()
	}
	for _, p := range processors {
		set.Set(p)
	}
	if unix.SchedSetaffinity(0, &set) == nil {
		defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	}
	return cmd.Start()
}
