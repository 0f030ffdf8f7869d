package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"paligemma/internal/result"
	"paligemma/internal/units"
)

// readAll reads a file, or standard input for "-", of at most limit bytes. It
// returns when ctx ends, even if a pipe or a terminal gives nothing.
func (a *app) readAll(ctx context.Context, path string, limit int64) ([]byte, error) {
	return await(ctx, func() ([]byte, error) { return readLimited(path, a.In, limit) })
}

// readText is readAll for what is part of the command line.
func (a *app) readText(ctx context.Context, path string, limit int64) ([]byte, error) {
	a.stdinRead = a.stdinRead || path == stdinName
	return a.readAll(ctx, path, limit)
}

// await returns what a read returns, or earlier if ctx ends: the read, which cannot
// be interrupted, is then left behind.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func readLimited(path string, stdin io.Reader, limit int64) ([]byte, error) {
	r := stdin
	if path != stdinName {
		f, err := os.Open(path)
		if err != nil {
			return nil, cause(err)
		}
		defer f.Close()
		r = f
		if info, err := f.Stat(); err == nil && info.Size() > limit {
			return nil, fmt.Errorf("%s are %w of %s", units.Count(info.Size(), "byte", "bytes"), result.ErrTooLong, units.Number(limit))
		}
	}
	return readAtMost(r, limit)
}

// readAtMost reads everything, unless it is more than limit bytes or empty. Of several
// pictures that are too much together it returns the first, and a byte that says so.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, cause(err)
	case int64(len(data)) > limit:
		if first, ok := firstPicture(data); ok && int64(len(first)) <= limit {
			return data[:len(first)+1], nil // a picture of several, which the limit is about
		}
		return nil, fmt.Errorf("%w of %s", result.ErrTooLong, units.Count(limit, "byte", "bytes"))
	case len(data) == 0:
		return nil, errors.New("it is empty")
	}
	return data, nil
}
