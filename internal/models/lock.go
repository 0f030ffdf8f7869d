package models

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const lockEvery = 100 * time.Millisecond

// lock locks a file that is made for it, and calls waiting before it waits for
// another process. Where the file system has no locks, none is taken.
func lock(ctx context.Context, path string, waiting func()) (release func(), err error) {
	release, locked, err := tryLock(path)
	if err != nil || locked {
		return release, err
	}
	waiting()
	ticks := time.NewTicker(lockEvery)
	defer ticks.Stop()
	for !locked {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticks.C:
		}
		if release, locked, err = tryLock(path); err != nil {
			return nil, err
		}
	}
	return release, nil
}

// tryLock is lock without waiting. The file is removed by release, while it is
// locked: whoever opened it meanwhile notices.
func tryLock(path string) (release func(), locked bool, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, false, err
	}
	for {
		l := flock.New(path)
		locked, err = l.TryLock()
		if errors.Is(err, errors.ErrUnsupported) {
			l.Close()
			return func() {}, true, nil
		}
		if err != nil || !locked {
			l.Close()
			return nil, false, err
		}
		if isAt(l, path) {
			return func() {
				os.Remove(path)
				l.Close()
			}, true, nil
		}
		l.Close()
	}
}

// isAt reports whether a locked file still has its name.
func isAt(l *flock.Flock, path string) bool {
	info, err := l.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(info, there)
}
