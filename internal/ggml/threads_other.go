//go:build !linux

package ggml

// affinity is known on Linux only.
func affinity() []int { return nil }
