//go:build !amd64

package ggml

// checkCPU knows nothing of other processors.
func checkCPU() error { return nil }
