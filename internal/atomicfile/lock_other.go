//go:build !unix

package atomicfile

import (
	"errors"
	"os"
)

// tryLock locks nothing: temporary files are then never taken for stale.
func tryLock(*os.File) error { return errors.ErrUnsupported }
