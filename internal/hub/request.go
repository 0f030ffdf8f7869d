package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"paligemma/internal/quote"
)

const (
	maxRedirects = 10
	maxTries     = 6 // in a row that bring nothing
	maxBackoff   = 30 * time.Second
)

// get asks for an address and follows redirects. The token goes to the endpoint
// only, whoever redirects to whom. Of the answers on the way look sees those of the
// endpoint. An answer with one of the wanted statuses is returned, its body open.
func (c *Client) get(ctx context.Context, to *url.URL, header http.Header, a asked, look func(*http.Response) error, want ...int) (*http.Response, error) {
	for range maxRedirects {
		resp, err := c.ask(ctx, to, header)
		if err != nil {
			return nil, err
		}
		if look != nil && sameOrigin(to, c.Endpoint) && resp.StatusCode < 400 {
			if err := look(resp); err != nil {
				resp.Body.Close()
				return nil, err
			}
		}
		if slices.Contains(want, resp.StatusCode) {
			return resp, nil
		}
		resp.Body.Close()
		if !slices.Contains([]int{301, 302, 303, 307, 308}, resp.StatusCode) {
			return nil, c.failure(resp, a)
		}
		if to, err = redirect(to, resp.Header.Get("Location")); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s redirects more than %d times", quote.Line(to.Host, quote.Max), maxRedirects)
}

// redirect returns where a redirect leads.
func redirect(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	switch {
	case err != nil || location == "" || to.Host == "" || to.Scheme != "http" && to.Scheme != "https":
		return nil, fmt.Errorf("%s redirects to %s, which is not an address", quote.Line(from.Host, quote.Max), quote.Short(location))
	case from.Scheme == "https" && to.Scheme == "http":
		return nil, fmt.Errorf("%s redirects to an address without encryption", quote.Line(from.Host, quote.Max))
	}
	to.User = nil
	return to, nil
}

// sameOrigin reports whether two addresses have the same scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// ask sends one request. A connection on which nothing comes for as long as Stall is
// given up, now or while the body is read.
func (c *Client) ask(ctx context.Context, to *url.URL, header http.Header) (*http.Response, error) {
	watched, cancel := context.WithCancelCause(ctx)
	b := &body{ctx: ctx, watched: watched, cancel: cancel, stall: c.Stall, to: to}
	b.timer = time.AfterFunc(c.Stall, func() { cancel(errStalled) })
	req, err := http.NewRequestWithContext(watched, http.MethodGet, to.String(), nil)
	if err != nil {
		b.stop()
		return nil, quote.Error(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", c.Agent)
	req.Header.Set("Accept-Encoding", "identity")
	if c.Token != "" && sameOrigin(to, c.Endpoint) {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		b.stop()
		return nil, b.failure(err)
	}
	b.ReadCloser, resp.Body = resp.Body, b
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		b.Close()
		return nil, transient("%s sends the file encoded as %s", quote.Line(to.Host, quote.Max), quote.Short(e))
	}
	return resp, nil
}

// body is an answer's, which is given up when nothing comes.
type body struct {
	io.ReadCloser
	ctx, watched context.Context
	cancel       context.CancelCauseFunc
	timer        *time.Timer
	stall        time.Duration
	to           *url.URL
}

// Read reads from the connection.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.timer.Reset(b.stall)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.failure(err)
	}
	return n, err
}

// Close ends the request.
func (b *body) Close() error {
	defer b.stop()
	return b.ReadCloser.Close()
}

func (b *body) stop() {
	b.timer.Stop()
	b.cancel(nil)
}

// failure says why the connection ended.
func (b *body) failure(err error) error {
	if errors.Is(context.Cause(b.watched), errStalled) {
		err = errStalled
	}
	return networkError(b.ctx, b.to, err)
}

// retry calls a function until it succeeds, fails for good, or has failed too often
// in a row without progress, which the function reports.
func (c *Client) retry(ctx context.Context, try func() (progress bool, err error)) error {
	for tries := 0; ; {
		progress, err := try()
		var again *transientError
		if err == nil || !errors.As(err, &again) {
			return err
		}
		if progress {
			tries = 0
		}
		tries++
		var dns *net.DNSError
		if tries >= maxTries || tries >= 2 && (unreachable(err) || errors.As(err, &dns)) {
			return err
		}
		if err := c.wait(ctx, again, tries); err != nil {
			return err
		}
	}
}

// wait waits before the next try.
func (c *Client) wait(ctx context.Context, why *transientError, tries int) error {
	pause := max(min(c.Backoff<<(tries-1), maxBackoff), why.after)
	if c.Notify != nil && (pause >= 5*time.Second || why.after > 0) {
		c.Notify(fmt.Sprintf("%v: trying again in %v", why, pause.Round(time.Second)))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
