package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"paligemma/internal/quote"
	"paligemma/internal/result"
	"paligemma/internal/units"
)

const (
	maxRedirects = 3
	maxHeader    = 32 << 10 // bytes of an answer's header
	maxAddress   = 8 << 10  // bytes of an address
)

// client returns what asks for pictures: directly, without cookies, and only what is
// public.
func (f *Fetcher) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            f.dial.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // a picture is compressed as it is, and a bomb otherwise
			MaxResponseHeaderBytes: maxHeader,
			MaxIdleConns:           16,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        30 * time.Second,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return refuse("the picture is redirected more than %d times", maxRedirects)
			}
			r.Header.Del("Referer")
			if err := f.check(r.URL); err != nil {
				return refuse("the picture is redirected: %w", err)
			}
			return nil
		},
	}
}

// check refuses to download from an address that is not allowed.
func (f *Fetcher) check(u *url.URL) error {
	switch {
	case u.Scheme != "https":
		return refuse("pictures are downloaded over https only")
	case u.User != nil:
		return refuse("an address with a user or a password is not downloaded")
	}
	name, err := cleanHost(u.Hostname())
	if err != nil {
		return refuse("%s: %w", quote.Short(u.Hostname()), err)
	}
	port := u.Port()
	if port == "" {
		port = httpsPort
	}
	if !f.hosts.allow(name, port) {
		return refuse("this server downloads no pictures from %s (its operator may allow it with --allow-remote)", quote.Short(u.Host))
	}
	return nil
}

// download gets a picture from an address.
func (f *Fetcher) download(ctx context.Context, address string) ([]byte, error) {
	if len(f.hosts) == 0 {
		return nil, errOff("addresses of pictures", "--allow-remote")
	}
	if len(address) > maxAddress {
		return nil, refuse("the address of the picture has more than %s", units.Bytes(maxAddress))
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, refuse("the address of the picture is malformed")
	}
	if err := f.check(u); err != nil {
		return nil, err
	}
	own, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	data, err := f.get(own, u)
	switch {
	case ctx.Err() != nil: // also where the picture came in the same moment
		return nil, ctx.Err()
	case err == nil:
		return data, nil
	case own.Err() != nil:
		return nil, broken(u.Host, fmt.Errorf("the picture took longer than %v", f.o.Timeout))
	}
	return nil, explain(u.Host, err)
}

func (f *Fetcher) get(ctx context.Context, u *url.URL) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "paligemma")
	r.Header.Set("Accept", "image/*")
	resp, err := f.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %d in place of a picture", resp.StatusCode)
	}
	return f.ReadAll(resp.Body, resp.ContentLength)
}

// explain returns the error of a download that failed.
func explain(host string, err error) error {
	var request result.RequestError
	var operation *net.OpError
	var address *url.Error
	switch {
	case errors.As(err, &request):
		return request
	case errors.Is(err, errPrivate):
		return refuse("%s: %w", quote.Short(host), errPrivate)
	case errors.As(err, &operation):
		err = operation.Err
	case errors.As(err, &address):
		err = address.Err
	}
	return broken(host, err)
}
