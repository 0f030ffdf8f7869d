package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"paligemma/internal/limits"
	"paligemma/internal/preprocess"
)

// limitOptions are the flags that bound what an image may cost. Zero means the
// default.
type limitOptions struct {
	MaxPixels int64
	MaxBytes  int64
}

const (
	// mostPixels is Pillow's limit, twice its MAX_IMAGE_PIXELS.
	mostPixels = 178_956_970
	// bytesPerPixel is what the hungriest decoder needs: a WebP picture in four
	// bytes a pixel and the rotated one in three.
	bytesPerPixel = 8
)

func (o *limitOptions) flags(f *pflag.FlagSet) {
	f.Var((*positive)(&o.MaxPixels), "max-pixels", "refuse images of more than `N` pixels (default: what fits a third of the free memory, at most 178956970)")
	f.Var((*positive)(&o.MaxBytes), "max-bytes", "refuse image files of more than `N` bytes (default: a third of the free memory; 67108864 from a pipe)")
}

// positive is a flag's number, 1 or more; 0 where the flag is not given.
type positive int64

// Set implements [pflag.Value].
func (p *positive) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return errors.New("want a number, 1 or more")
	}
	*p = positive(n)
	return nil
}

// String implements [pflag.Value].
func (p *positive) String() string { return strconv.FormatInt(int64(*p), 10) }

// Type implements [pflag.Value].
func (p *positive) Type() string { return "int" }

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
func (a *app) readImage(ctx context.Context, path string, o limitOptions) ([]byte, preprocess.Limits, error) {
	lim := a.limits(path, o)
	data, err := a.readAll(ctx, path, lim.MaxBytes)
	if errors.Is(err, errTooLong) {
		err = fmt.Errorf("%w (--max-bytes N allows more)", err)
	}
	return data, lim, err
}

// named puts an image's path before its warnings where there are several images.
func named(path string, several bool, warnings []string) []string {
	if !several {
		return warnings
	}
	var out []string
	for _, w := range warnings {
		out = append(out, path+": "+w)
	}
	return out
}

// logWarnings notes what was mended in an image.
func (a *app) logWarnings(path string, warnings []string) {
	if len(warnings) == 0 {
		return
	}
	if path == stdinName {
		path = "standard input"
	}
	a.note("%s is damaged: %s", path, strings.Join(warnings, "; "))
}
