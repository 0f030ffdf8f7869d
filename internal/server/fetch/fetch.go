// Package fetch reads the pictures that requests name: data: URIs and, where that is
// allowed, https addresses and files below a folder. What a request names is hostile
// until the opposite is shown.
package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"paligemma/internal/quote"
	"paligemma/internal/result"
	"paligemma/internal/units"
)

// Defaults of Options.
const (
	defaultMaxBytes = 64 << 20
	defaultTimeout  = 10 * time.Second
)

// maxAnnounced bounds what is allocated before the first byte is there, in bytes.
const maxAnnounced = 1 << 20

// Options say what may be read.
type Options struct {
	MaxBytes int64         // of a picture; 0: 64 MiB
	Hosts    []string      // that pictures may be downloaded from, as [CheckHost] has them; none: no downloads
	Timeout  time.Duration // of a download with its redirects; 0: 10 seconds
	Media    string        // the folder that file:// addresses lie below; "": none
}

// Fetcher reads pictures. Any goroutine may call it.
type Fetcher struct {
	o     Options
	hosts hosts
	dial  *net.Dialer
	http  *http.Client
	media *os.Root // nil: no files
	at    string   // the absolute path of media, with slashes
}

// New returns a Fetcher. The caller closes it.
func New(o Options) (*Fetcher, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	f := &Fetcher{o: o}
	for _, host := range o.Hosts {
		h, err := parseHost(host)
		if err != nil {
			return nil, fmt.Errorf("pictures of %s: %w", quote.Short(host), err)
		}
		f.hosts = append(f.hosts, h)
	}
	f.dial = &net.Dialer{Control: dialed}
	f.http = f.client()
	return f, f.openMedia()
}

// Close frees what the Fetcher holds.
func (f *Fetcher) Close() error {
	f.http.CloseIdleConnections()
	if f.media == nil {
		return nil
	}
	return f.media.Close()
}

// Read returns the bytes of the picture that a reference names. Errors about the
// reference are [result.RequestError]s, those about what it names are
// [result.ImageError]s.
func (f *Fetcher) Read(ctx context.Context, reference string) ([]byte, error) {
	scheme, rest, ok := strings.Cut(reference, ":")
	switch scheme = strings.ToLower(scheme); {
	case ok && scheme == "data":
		return f.data(rest)
	case ok && scheme == "https":
		return f.download(ctx, reference)
	case ok && scheme == "http" && len(f.hosts) > 0:
		return nil, refuse("pictures are downloaded over https only")
	case ok && scheme == "file":
		return f.file(reference)
	}
	return nil, refuse("want a picture as data:image/png;base64,…%s", f.others())
}

// ReadAll reads the bytes of a picture, of which size are announced; 0 or less: unknown.
// Too many are a [result.ImageError]; errors of r are returned as they are.
func (f *Fetcher) ReadAll(r io.Reader, size int64) ([]byte, error) {
	if err := f.checkSize(size); err != nil {
		return nil, err
	}
	var data bytes.Buffer
	data.Grow(int(min(max(size, 0), maxAnnounced)) + bytes.MinRead)
	if _, err := data.ReadFrom(io.LimitReader(r, f.o.MaxBytes+1)); err != nil {
		return nil, err
	}
	return data.Bytes(), f.checkSize(int64(data.Len()))
}

// others names the other kinds of references that are allowed.
func (f *Fetcher) others() string {
	text := ""
	if len(f.hosts) > 0 {
		text += " or https://…"
	}
	if f.media != nil {
		text += " or file://…"
	}
	return text
}

// checkSize refuses a picture that has too many bytes.
func (f *Fetcher) checkSize(size int64) error {
	if size > f.o.MaxBytes {
		return result.ImageError{Err: fmt.Errorf("the picture has %w of %s", result.ErrTooLong, units.Bytes(f.o.MaxBytes))}
	}
	return nil
}

// refuse is the error of a reference.
func refuse(format string, args ...any) error {
	return result.RequestError{Err: fmt.Errorf(format, args...)}
}

// broken is the error of what a reference names.
func broken(what string, err error) error {
	if image := (result.ImageError{}); errors.As(err, &image) {
		return image
	}
	return result.ImageError{Err: fmt.Errorf("%s: %w", quote.Line(what, quote.Max), quote.Error(err))}
}

// errOff is what a reference meets whose kind is not allowed.
func errOff(kind, flag string) error {
	return result.RequestError{Err: errors.New("this server takes no " + kind + ": send the picture as data:image/png;base64,… (its operator may allow them with " + flag + ")")}
}
