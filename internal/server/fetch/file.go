package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// openMedia opens the folder of pictures, if there is one.
func (f *Fetcher) openMedia() error {
	if f.o.Media == "" {
		return nil
	}
	at, err := filepath.Abs(f.o.Media)
	if err != nil {
		return err
	}
	f.at = path.Clean(filepath.ToSlash(at))
	if f.media, err = os.OpenRoot(at); err != nil {
		return fmt.Errorf("--media-path %s: %w", f.o.Media, reason(err))
	}
	return nil
}

// file reads a picture below the folder of pictures. Whether anything exists elsewhere,
// the error does not say.
func (f *Fetcher) file(address string) ([]byte, error) {
	if f.media == nil {
		return nil, errOff("file:// addresses", "--media-path")
	}
	name, err := f.mediaName(address)
	if err != nil {
		return nil, err
	}
	// A named pipe would wait for who writes into it.
	file, err := f.media.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, openError(name, err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, broken(name, reason(err))
	case !info.Mode().IsRegular():
		return nil, broken(name, errors.New("not a regular file"))
	}
	data, err := f.ReadAll(file, info.Size())
	if err != nil {
		return nil, broken(name, reason(err))
	}
	return data, nil
}

// mediaName returns the path, below the folder of pictures, of the file that an address
// names.
func (f *Fetcher) mediaName(address string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Opaque != "" || strings.ContainsRune(u.Path, 0):
		return "", refuse("the address of the picture is malformed: want file:///path/of/picture.png")
	case u.Host != "" && !strings.EqualFold(u.Host, "localhost"):
		return "", refuse("the picture's address names another machine: want file:///path/of/picture.png, with three slashes")
	}
	name, below := strings.CutPrefix(path.Clean(u.Path), strings.TrimSuffix(f.at, "/")+"/")
	if !below || !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", refuse("the picture lies outside the folder that --media-path allows")
	}
	return filepath.FromSlash(name), nil
}

// openError is the error of a file that cannot be opened. What escapes from the folder
// by a link is an error of the request.
func openError(name string, err error) error {
	err = reason(err)
	var number syscall.Errno
	if errors.As(err, &number) || errors.Is(err, fs.ErrNotExist) {
		return broken(name, err)
	}
	return result.RequestError{Err: fmt.Errorf("%s leads outside the folder that --media-path allows", quote.Short(name))}
}

// reason is an error without the operation and the path.
func reason(err error) error {
	var known *fs.PathError
	if errors.As(err, &known) {
		return known.Err
	}
	return err
}
