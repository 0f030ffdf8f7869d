//go:build unix

package ggml

import (
	"os"
	"syscall"
)

var stopAndContinue = []os.Signal{syscall.SIGSTOP, syscall.SIGCONT}
