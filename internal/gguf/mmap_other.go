//go:build !unix

package gguf

import (
	"errors"
	"os"
)

const canMap = false

func mapFile(string, *os.File, int64) ([]byte, func() error, error) {
	return nil, nil, errors.ErrUnsupported
}

func allocate(size int64) ([]byte, func() error, error) { return make([]byte, size), nil, nil }
