//go:build !linux

package atomicfile

import (
	"errors"
	"os"
)

// openNameless gives nil: only Linux has files without a name.
func openNameless(string) *os.File { return nil }

func linkNameless(*os.File, string) error { return errors.ErrUnsupported }
