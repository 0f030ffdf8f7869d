package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

const (
	firstPiece  = 1 << 20  // bytes of the request that shows what the server is like
	pieceBytes  = 64 << 20 // of the others, at most
	copyBytes   = 256 << 10
	minPiece    = 1 << 20
	weakTag     = "W/"
	rangeHeader = "Content-Range"
)

// errNoRanges says that a server does not send the parts of a file that were asked for.
var errNoRanges = errors.New("the server does not send ranges")

// fill downloads what is missing.
func (t *transfer) fill(ctx context.Context) error {
	if t.part.length() == t.file.Size {
		return nil
	}
	if t.whole {
		return t.stream(ctx)
	}
	if t.part.tag() == "" {
		if err := t.piece(ctx, t.part.missing(firstPiece)[0]); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pieces := make(chan span)
	var all sync.WaitGroup
	for range cap(t.slots) {
		all.Go(func() {
			for s := range pieces {
				if err := t.piece(ctx, s); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, s := range t.part.missing(t.pieceSize()) {
		select {
		case pieces <- s:
		case <-ctx.Done():
		}
	}
	close(pieces)
	all.Wait()
	return context.Cause(ctx)
}

// pieceSize returns how much is asked for at a time: such that all connections have
// something to do.
func (t *transfer) pieceSize() int64 {
	return min(pieceBytes, max(minPiece, t.file.Size/int64(cap(t.slots))))
}

// slot waits for a connection that may be used.
func (t *transfer) slot(ctx context.Context) (release func(), err error) {
	select {
	case t.slots <- struct{}{}:
		return func() { <-t.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// piece downloads a part of the file, going on after breaks.
func (t *transfer) piece(ctx context.Context, s span) error {
	release, err := t.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	return t.client.retry(ctx, func() (bool, error) {
		n, err := t.request(ctx, s)
		s.from += n
		if err == nil && s.from < s.to {
			err = transient("the answer ended early")
		}
		return n > 0, err
	})
}

// request asks for a part of the file, and returns how many of its bytes came.
func (t *transfer) request(ctx context.Context, s span) (int64, error) {
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", s.from, s.to-1)}}
	if tag := t.part.tag(); tag != "" && !strings.HasPrefix(tag, weakTag) {
		header.Set("If-Range", tag)
	}
	resp, err := t.get(ctx, header, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return 0, t.unsatisfiable(resp)
	}
	if err := t.part.from(resp.Header.Get("ETag")); err != nil {
		return 0, err
	}
	if resp.StatusCode == http.StatusOK {
		if s != (span{0, t.file.Size}) {
			return 0, errNoRanges
		}
		return t.copyWhole(resp)
	}
	if s.to, err = t.partial(resp, s); err != nil {
		return 0, err
	}
	n, _, err := t.copy(resp.Body, s)
	return n, err
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$`)

// partial returns where a partial answer ends, which may be before the wanted end.
func (t *transfer) partial(resp *http.Response, s span) (to int64, err error) {
	m := contentRange.FindStringSubmatch(strings.TrimSpace(resp.Header.Get(rangeHeader)))
	if m == nil {
		return 0, errNoRanges
	}
	from, _ := strconv.ParseInt(m[1], 10, 64)
	last, _ := strconv.ParseInt(m[2], 10, 64)
	if total, err := strconv.ParseInt(m[3], 10, 64); err == nil && total != t.file.Size {
		return 0, t.wrongSize(total)
	}
	if from != s.from || last < from {
		return 0, errNoRanges
	}
	return min(s.to, last+1), nil
}

// unsatisfiable says what a 416 means.
func (t *transfer) unsatisfiable(resp *http.Response) error {
	text, _ := strings.CutPrefix(resp.Header.Get(rangeHeader), "bytes */")
	if total, err := strconv.ParseInt(text, 10, 64); err == nil && total != t.file.Size {
		return t.wrongSize(total)
	}
	return errNoRanges
}

func (t *transfer) wrongSize(n int64) error {
	return fmt.Errorf("the server has %d bytes of it, %d are in the hub's list", n, t.file.Size)
}

// stream downloads the file in one answer, from a server that knows no ranges.
func (t *transfer) stream(ctx context.Context) error {
	release, err := t.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	return t.client.retry(ctx, func() (bool, error) {
		resp, err := t.get(ctx, nil, http.StatusOK)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		if err := t.part.from(resp.Header.Get("ETag")); err != nil {
			return false, err
		}
		before := t.part.length()
		n, err := t.copyWhole(resp)
		if err == nil && n < t.file.Size {
			err = transient("the answer ended early")
		}
		return t.part.length() > before, err
	})
}

// copyWhole reads an answer that is the whole file and nothing more.
func (t *transfer) copyWhole(resp *http.Response) (int64, error) {
	if resp.ContentLength >= 0 && resp.ContentLength != t.file.Size {
		return 0, t.wrongSize(resp.ContentLength)
	}
	n, more, err := t.copy(resp.Body, span{0, t.file.Size})
	if err == nil && more {
		err = fmt.Errorf("the server has more than the %d bytes of it that are in the hub's list", t.file.Size)
	}
	return n, err
}

// copy writes what is read to its place, and reports whether there is more than
// was wanted.
func (t *transfer) copy(from io.Reader, s span) (n int64, more bool, err error) {
	buf := make([]byte, copyBytes)
	for err == nil && s.from < s.to {
		var got int
		got, err = from.Read(buf)
		if int64(got) > s.to-s.from {
			got, more = int(s.to-s.from), true
		}
		if got > 0 {
			gained, err := t.part.write(buf[:got], s.from)
			t.done.Add(gained)
			if err != nil {
				return n, false, err
			}
			n += int64(got)
			s.from += int64(got)
		}
	}
	switch {
	case s.from == s.to && !more && err == nil:
		got, _ := from.Read(buf) // what ends the answer does not matter any more
		return n, got > 0, nil
	case s.from == s.to, errors.Is(err, io.EOF):
		return n, more, nil
	}
	return n, false, err
}

// get asks the hub for the file, and holds what the hub says of it against its list.
func (t *transfer) get(ctx context.Context, header http.Header, want ...int) (*http.Response, error) {
	to := t.client.url(t.snapshot.ID, "resolve", t.snapshot.Commit, url.PathEscape(t.file.Path))
	return t.client.get(ctx, to, header, asked{t.snapshot.ID, t.snapshot.Revision, t.file.Path}, t.look, want...)
}

// look refuses an answer of the hub that contradicts its list.
func (t *transfer) look(resp *http.Response) error {
	h := resp.Header
	if commit := h.Get("X-Repo-Commit"); commit != "" && commit != t.snapshot.Commit {
		return fmt.Errorf("the hub sends commit %.40q where %s was asked for", commit, t.snapshot.Commit)
	}
	if size, err := strconv.ParseInt(h.Get("X-Linked-Size"), 10, 64); err == nil && size != t.file.Size {
		return t.wrongSize(size)
	}
	tag := strings.Trim(strings.TrimPrefix(h.Get("X-Linked-Etag"), weakTag), `"`)
	if t.file.SHA256 != "" && sha256Pattern.MatchString(tag) && tag != t.file.SHA256 {
		return errors.New("the hub's answer and its list name different hashes")
	}
	return nil
}
