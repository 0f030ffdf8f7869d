package ggml

// #include "plugin.h"
import "C"

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

const pluginsSupported = true

// expectCrashes has a crash in a plug-in, or in what it loads, end the process with one line.
var expectCrashes = sync.OnceFunc(func() { C.pg_expect_crashes() })

// trusted reports why a plug-in may be someone else's, who has put it where the
// program looks: /tmp, for a program in /tmp. The program's owner is trusted, too.
func trusted(plugin fs.FileInfo) error {
	owner, ok := plugin.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if plugin.Mode().Perm()&0o002 != 0 {
		return errors.New("anyone can write to it: chmod o-w")
	}
	if owner.Uid == 0 || owner.Uid == uint32(os.Geteuid()) {
		return nil
	}
	if program, err := os.Stat("/proc/self/exe"); err == nil {
		if s, ok := program.Sys().(*syscall.Stat_t); ok && s.Uid == owner.Uid {
			return nil
		}
	}
	return errors.New("it belongs to another user")
}
