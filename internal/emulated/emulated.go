// Package emulated starts programs in tests that run on an emulated processor
// (make test-qemu): the system cannot, but their emulator can.
package emulated

import (
	"os"
	"os/exec"
	"slices"
	"strings"
)

// emulator is the variable with the command that emulates the processor of the tests
// (scripts/emulated).
const emulator = "PALIGEMMA_TEST_EMULATOR"

// Processor reports whether the tests run on an emulated processor.
func Processor() bool { return os.Getenv(emulator) != "" }

// Command returns the command that runs a program of the tests' processor.
func Command(program string, args ...string) *exec.Cmd {
	words := slices.Concat(strings.Fields(os.Getenv(emulator)), []string{program}, args)
	return exec.Command(words[0], words[1:]...)
}
