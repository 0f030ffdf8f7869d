//go:build !linux && !darwin

package models

// freeSpace knows nothing here.
func freeSpace(string) (bytes int64, device uint64, ok bool) { return 0, 0, false }
