//go:build !linux

package cli

import "os/exec"

// memoryNodes returns nothing: there is nothing to choose.
func memoryNodes() [][]int { return nil }

// startOn starts a process; there are no processors to choose.
func startOn(cmd *exec.Cmd, _ []int) error { return cmd.Start() }
