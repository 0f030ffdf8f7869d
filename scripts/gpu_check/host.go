package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// inMemory is a folder that Linux keeps in memory.
const inMemory = "/dev/shm"

// roomiest returns a folder in memory, where it and the memory have room for the files of a
// model of 3B and for the programs that read them; else "", which is that for temporary files.
func roomiest() string {
	const enough = 60 << 30
	if room(inMemory) < enough || memoryAvailable() <= 3*enough/2 {
		return ""
	}
	return inMemory
}

// room returns the free bytes of a folder's file system; 0 where they are not known.
func room(folder string) int64 {
	var fs syscall.Statfs_t
	if syscall.Statfs(folder, &fs) != nil {
		return 0
	}
	return int64(fs.Bavail) * int64(fs.Bsize)
}

// memoryAvailable returns the bytes that programs can get without swapping; 0 where they
// are not known.
func memoryAvailable() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kB int64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kB); n == 1 {
			return kB << 10
		}
	}
	return 0
}

// host notes what the machine has next to the card.
func (c *check) host() {
	c.add(finding{Part: "machine", What: "host", Got: fmt.Sprintf("%d processors, %s of memory available, %s free in %s",
		runtime.NumCPU(), gigabytes(memoryAvailable()), gigabytes(room(c.scratch)), c.scratch)})
}
