package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// Bounds of what the hub lists.
const (
	maxAnswer = 16 << 20 // bytes of JSON; a page of 1,000 files has 300 kB
	maxPages  = 100
	maxFiles  = 20_000
)

// Snapshot is a repository at a commit.
type Snapshot struct {
	ID         string // OWNER/NAME
	Revision   string // as it was asked for
	Commit     string // 40 hexadecimal digits
	Parameters int64  // of the safetensors, as the hub counts them; 0: not known
	Files      []File
	Cached     bool // the list is of what the hub's cache has, which may be a part
}

// File is a file of a snapshot. One of the hashes is known, but for some files of a
// cache.
type File struct {
	Path   string // in the repository, with slashes
	Size   int64
	SHA256 string // of the bytes; "": the file is kept in git itself
	Blob   string // git's SHA-1 of such a file
}

// Snapshot asks the hub for the commit of a revision and its files.
func (c *Client) Snapshot(ctx context.Context, id, revision string) (*Snapshot, error) {
	if err := errors.Join(CheckID(id), CheckRevision(revision)); err != nil {
		return nil, err
	}
	if c.Offline {
		return c.cachedSnapshot(id, revision)
	}
	s := &Snapshot{ID: id, Revision: revision}
	a := asked{id: id, revision: revision}
	to := c.url("api", "models", id, "revision", url.PathEscape(revision))
	if _, _, err := c.json(ctx, to, a, s.readInfo); err != nil {
		return nil, err
	}
	to = c.url("api", "models", id, "tree", s.Commit)
	to.RawQuery = "recursive=true"
	for range maxPages {
		from, next, err := c.json(ctx, to, a, s.readPage)
		if err != nil || next == "" {
			return s, err
		}
		if to, err = c.nextPage(from, next); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the list of the files of %s has more than %d pages", id, maxPages)
}

// json reads an answer of the hub with read. It returns the address that gave it, and
// that of the next page of a list, if there is one.
func (c *Client) json(ctx context.Context, to *url.URL, a asked, read func(*strictjson.Reader) error) (from *url.URL, next string, err error) {
	var text []byte
	err = c.retry(ctx, func() (bool, error) {
		resp, err := c.get(ctx, to, nil, a, nil, http.StatusOK)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		from, next = resp.Request.URL, nextLink(resp.Header)
		text, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		return false, err
	})
	if err != nil {
		return nil, "", err
	}
	if len(text) > maxAnswer {
		return nil, "", fmt.Errorf("%s answers with more than %d bytes of JSON", quote.Line(to.Host, quote.Max), maxAnswer)
	}
	r, err := strictjson.NewReader(string(text))
	if err == nil {
		err = read(r)
	}
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s answers otherwise than a hub: %w", quote.Line(to.Host, quote.Max), quote.Error(err))
	}
	return from, next, nil
}

var linkPattern = regexp.MustCompile(`<([^<>]*)>([^<]*)`)

// nextLink returns the address of the next page of a list, "" where this is the last.
func nextLink(header http.Header) string {
	for _, value := range header.Values("Link") {
		for _, m := range linkPattern.FindAllStringSubmatch(value, -1) {
			if strings.Contains(m[2], `rel="next"`) || strings.Contains(m[2], "rel=next") {
				return m[1]
			}
		}
	}
	return ""
}

// nextPage returns the address of the next page. A mirror may name the hub that it
// mirrors; any other place is not followed.
func (c *Client) nextPage(from *url.URL, next string) (*url.URL, error) {
	to, err := from.Parse(next)
	if err != nil {
		return nil, fmt.Errorf("the list of files goes on at %s, which is not an address", quote.Short(next))
	}
	if hub, err := url.Parse(DefaultEndpoint); err == nil && sameOrigin(to, hub) {
		to.Scheme, to.Host = from.Scheme, from.Host
	}
	if !sameOrigin(to, from) {
		return nil, fmt.Errorf("the list of files goes on at another place, %s", quote.Line(to.Host, quote.Max))
	}
	return to, nil
}

// readInfo reads what the hub says of a revision.
func (s *Snapshot) readInfo(r *strictjson.Reader) error {
	total := func() (err error) {
		s.Parameters, err = r.Int(0, math.MaxInt64>>8)
		return err
	}
	weights := func() error { return r.Fields(map[string]any{"total": total}) }
	if err := r.Fields(map[string]any{"sha": &s.Commit, "safetensors": weights}); err != nil {
		return err
	}
	if !IsCommit(s.Commit) {
		return fmt.Errorf("sha %s is not a commit", quote.Short(s.Commit))
	}
	return nil
}

// readPage reads a page of the list of files.
func (s *Snapshot) readPage(r *strictjson.Reader) error {
	return r.List(func() error {
		f, isFile, err := readFile(r)
		if err != nil || !isFile {
			return err
		}
		if len(s.Files) == maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		s.Files = append(s.Files, f)
		return nil
	})
}

var (
	sha1Pattern   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// readFile reads an entry of the list.
func readFile(r *strictjson.Reader) (f File, isFile bool, err error) {
	var kind string
	size, lfsSize := int64(-1), int64(-1)
	number := func(n *int64) func() error {
		return func() (err error) {
			*n, err = r.Int(0, math.MaxInt64>>1)
			return err
		}
	}
	lfs := func() error { return r.Fields(map[string]any{"oid": &f.SHA256, "size": number(&lfsSize)}) }
	fields := map[string]any{"type": &kind, "path": &f.Path, "oid": &f.Blob, "size": number(&size), "lfs": lfs}
	if err = r.Fields(fields); err != nil {
		return f, false, err
	}
	if err = checkListed(f.Path); err != nil {
		return f, false, fmt.Errorf("path %s: %w", quote.Short(f.Path), err)
	}
	if kind != "file" {
		return f, false, nil
	}
	f.Size = size
	if f.SHA256 != "" {
		f.Blob = "" // of the pointer
	}
	switch {
	case size < 0, lfsSize >= 0 && lfsSize != size:
		err = errors.New("its size is missing or there twice")
	case f.SHA256 == "" && !sha1Pattern.MatchString(f.Blob), f.SHA256 != "" && !sha256Pattern.MatchString(f.SHA256):
		err = errors.New("its hash is missing or none")
	}
	if err != nil {
		return f, false, fmt.Errorf("path %s: %w", quote.Short(f.Path), err)
	}
	return f, true, nil
}
