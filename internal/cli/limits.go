package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"paligemma/internal/limits"
	"paligemma/internal/preprocess"
	"paligemma/internal/result"
)

const (
	// mostPixels is Pillow's limit, twice its MAX_IMAGE_PIXELS.
	mostPixels = 178_956_970
	// bytesPerPixel is what the hungriest decoder needs: a WebP picture in four
	// bytes a pixel and the rotated one in three.
	bytesPerPixel = 8
)

// limits returns the limits for an image in a file, which is standard input if
// its path is -.
func (a *app) limits(path string, o limitOptions) preprocess.Limits {
	third := freeMemory() / 3
	lim := preprocess.Limits{MaxPixels: o.MaxPixels, MaxBytes: o.MaxBytes}
	if lim.MaxPixels == 0 {
		lim.MaxPixels = max(min(third/bytesPerPixel, mostPixels), 1)
	}
	if lim.MaxBytes == 0 {
		lim.MaxBytes = preprocess.DefaultLimits.MaxBytes
		if a.isRegular(path) {
			lim.MaxBytes = max(lim.MaxBytes, third)
		}
	}
	return lim
}

// isRegular reports whether an input is a regular file, as standard input is where
// a shell redirects it.
func (a *app) isRegular(path string) bool {
	stat := func() (os.FileInfo, error) { return os.Stat(path) }
	if path == stdinName {
		file, ok := a.In.(*os.File)
		if !ok {
			return false
		}
		stat = file.Stat
	}
	info, err := stat()
	return err == nil && info.Mode().IsRegular()
}

// freeMemory returns the bytes that the process can still get; 4 GiB where nobody
// knows.
func freeMemory() int64 {
	m := limits.FreeMemory()
	free := min(m.Physical, m.Address, m.Data)
	if free == limits.Unlimited {
		free = 4 << 30
	}
	return free
}

// readImage reads an image's file and returns the limits for decoding it.
func (a *app) readImage(ctx context.Context, s source, o limitOptions) (data []byte, lim preprocess.Limits, err error) {
	lim = a.limits(s.path, o)
	if s.data != nil {
		data, err = readAtMost(bytes.NewReader(s.data), lim.MaxBytes)
	} else {
		data, err = a.readAll(ctx, s.path, lim.MaxBytes)
	}
	if errors.Is(err, result.ErrTooLong) {
		err = fmt.Errorf("%w (--max-bytes N allows more)", err)
	}
	return data, lim, err
}

// logWarnings notes what was mended in an image.
func (a *app) logWarnings(path string, warnings []string) {
	if len(warnings) == 0 {
		return
	}
	a.note("%s is damaged: %s", source{path: path}.shown(), strings.Join(warnings, "; "))
}
