//go:build unix

package gguf

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"paligemma/internal/guard"
)

const canMap = true

// mapFile maps a file read-only, guarded against one that is cut short. Its size is
// not 0: a header was found in it.
func mapFile(path string, file *os.File, size int64) ([]byte, func() error, error) {
	data, err := unix.Mmap(int(file.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	release, err := guard.Mapping(data, path)
	if err != nil {
		return nil, nil, errors.Join(err, unix.Munmap(data))
	}
	return data, func() error {
		release()
		return unix.Munmap(data)
	}, nil
}

// allocate gives zeroed memory outside Go's heap, aligned to a page.
func allocate(size int64) ([]byte, func() error, error) {
	data, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	return data, func() error { return unix.Munmap(data) }, nil
}
