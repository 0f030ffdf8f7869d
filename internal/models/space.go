package models

import (
	"fmt"

	"paligemma/internal/units"
)

// need is what is going to be written into a folder, in bytes.
type need struct {
	what  string
	dir   string
	bytes int64
}

// checkSpace refuses what the file systems have no room for.
func checkSpace(needs ...need) error {
	wanted := map[uint64]int64{}
	for _, n := range needs {
		free, device, ok := freeSpace(n.dir)
		if !ok {
			continue
		}
		wanted[device] += n.bytes
		if wanted[device] > free {
			return fmt.Errorf("%s needs %s and %s has %s free: make room, or set XDG_CACHE_HOME (downloads) or XDG_DATA_HOME (models) to another disk",
				n.what, units.Bytes(wanted[device]), n.dir, units.Bytes(free))
		}
	}
	return nil
}
