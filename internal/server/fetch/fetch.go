// Package fetch reads the pictures that requests name: data: URIs and, where that is
// allowed, https addresses and files below a folder. What a request names is hostile
// until the opposite is shown.
package fetch

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"paligemma/internal/result"
)

// Options say what may be read.
type Options struct {
	MaxBytes int64    // of a picture
	Hosts    []string // that pictures may be downloaded from; none: no downloads
	Media    string   // the folder that file:// addresses lie below; "": none
}

// Fetcher reads pictures. Any goroutine may call it.
type Fetcher struct{ o Options }

// New returns a Fetcher. The caller closes it.
func New(o Options) (*Fetcher, error) { return &Fetcher{o}, nil }

// Close frees what the Fetcher holds.
func (f *Fetcher) Close() error { return nil }

// Read returns the bytes of the picture that a reference names. Errors about the
// reference are [result.RequestError]s, those about what it names are
// [result.ImageError]s.
func (f *Fetcher) Read(ctx context.Context, reference string) ([]byte, error) {
	if !strings.HasPrefix(reference, "data:") {
		return nil, result.RequestError{Err: errors.New("want a picture as data:image/png;base64,…")}
	}
	return f.data(reference)
}

// data decodes a data: URI.
func (f *Fetcher) data(uri string) ([]byte, error) {
	head, body, ok := strings.Cut(uri, ",")
	if !ok || !strings.HasSuffix(head, ";base64") {
		return nil, result.RequestError{Err: errors.New("want a picture as data:image/png;base64,…")}
	}
	return f.Base64(body)
}

// Base64 decodes the bytes of a picture. Their number is checked before.
func (f *Fetcher) Base64(text string) ([]byte, error) {
	if int64(base64.StdEncoding.DecodedLen(len(text))) > f.o.MaxBytes+2 {
		return nil, result.ImageError{Err: fmt.Errorf("the picture has %w of %d bytes", result.ErrTooLong, f.o.MaxBytes)}
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, result.RequestError{Err: fmt.Errorf("a picture is not base64: %w", err)}
	}
	return data, nil
}
