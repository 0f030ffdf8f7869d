package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"paligemma/internal/quote"
)

// RefusedError says that the hub has not what was asked for, or does not give it to
// this user. To ask again does not help.
type RefusedError struct {
	message string
	Unknown bool // the hub knows no such repository, or does not say so to this user
}

// Error returns what the hub says, and what to do.
func (e *RefusedError) Error() string { return e.message }

func refused(format string, args ...any) error {
	return &RefusedError{message: fmt.Sprintf(format, args...)}
}

// transientError is an error that may be gone the next time.
type transientError struct {
	error
	after time.Duration // the server wants nothing before; 0: it says nothing
}

func (e *transientError) Unwrap() error { return e.error }

func transient(format string, args ...any) error {
	return &transientError{error: fmt.Errorf(format, args...)}
}

// errStalled says that a connection was given up.
var errStalled = errors.New("nothing came any more")

// asked is what a request was about, for messages.
type asked struct{ id, revision, file string }

// maxRetryAfter bounds how long a server can make this program wait.
const maxRetryAfter = 10 * time.Minute

// failure returns what an answer other than the wanted one means.
func (c *Client) failure(resp *http.Response, a asked) error {
	status := resp.StatusCode
	switch {
	case status == http.StatusTooManyRequests:
		return &transientError{fmt.Errorf("%s answers that there were too many requests (429)", host(resp)), retryAfter(resp)}
	case status >= 500, status == http.StatusRequestTimeout:
		return &transientError{fmt.Errorf("%s answers %s", host(resp), statusText(resp)), retryAfter(resp)}
	case !sameOrigin(resp.Request.URL, c.Endpoint):
		// A storage whose signed address may be too old: the next one is new.
		return transient("the storage %s answers %s", host(resp), statusText(resp))
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return c.refusal(resp, a)
	}
	return fmt.Errorf("%s answers %s%s", host(resp), statusText(resp), said(resp))
}

// refusal returns what a 401, 403 or 404 of the hub means.
func (c *Client) refusal(resp *http.Response, a asked) error {
	switch code := resp.Header.Get("X-Error-Code"); {
	case code == "GatedRepo" && c.Token == "":
		return refused("%s is gated: accept its license at %s, then log in (`hf auth login`, or HF_TOKEN=hf_…)", a.id, c.Page(a.id))
	case code == "GatedRepo":
		return refused("%s is gated: accept its license at %s with the account whose token is in %s", a.id, c.Page(a.id), c.TokenFrom)
	case code == "RevisionNotFound":
		return refused("%s has no revision %s: %s shows its branches", a.id, quote.Short(a.revision), c.Page(a.id)+"/tree/main")
	case code == "EntryNotFound":
		return refused("%s has no file %s in revision %s", a.id, quote.Short(a.file), quote.Short(a.revision))
	case resp.StatusCode == http.StatusUnauthorized && strings.Contains(resp.Header.Get("X-Error-Message"), "Invalid"):
		return refused("the hub does not accept the token in %s: log in again (`hf auth login`)", c.TokenFrom)
	case resp.StatusCode == http.StatusForbidden:
		return refused("the hub does not give %s to you%s", a.id, said(resp))
	}
	message := fmt.Sprintf("the hub has no model %s, or the account whose token is in %s may not see it", a.id, c.TokenFrom)
	if c.Token == "" {
		message = fmt.Sprintf("the hub has no model %s, or it is private: check the name, or log in (`hf auth login`, or HF_TOKEN=hf_…)", a.id)
	}
	return &RefusedError{message: message, Unknown: true}
}

// said returns the hub's own words, after a colon.
func said(resp *http.Response) string {
	message := resp.Header.Get("X-Error-Message")
	if message == "" {
		return ""
	}
	return ": " + quote.Line(message, quote.Max)
}

// statusText returns the number of an answer and what it stands for.
func statusText(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// host names who answered. The rest of an address may hold a signature.
func host(resp *http.Response) string { return quote.Line(resp.Request.URL.Host, quote.Max) }

// retryAfter returns how long a server wants to be left alone.
func retryAfter(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return min(max(0, time.Duration(seconds)*time.Second), maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at)), maxRetryAfter)
	}
	return 0
}

// networkError returns an error of a request or of its body as one that may be gone
// the next time, without the address, which may hold a signature.
func networkError(ctx context.Context, to *url.URL, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &transientError{error: fmt.Errorf("%s: %w", quote.Line(to.Host, quote.Max), quote.Error(err))}
}

// unreachable reports whether no connection was made at all.
func unreachable(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}
