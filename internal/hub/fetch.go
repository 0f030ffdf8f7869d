package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"paligemma/internal/atomicfile"
	"paligemma/internal/quote"
)

const reportEvery = 100 * time.Millisecond

// Fetch puts files of a snapshot into a folder, those first that are listed first:
// from the folder itself, where an earlier run left them or parts of them, from the
// hub's cache, as links, or from the hub. All that is there afterwards was held
// against the hub's list. report is told the bytes that are there, from one goroutine
// at a time. Whenever the process ends, the next call goes on where this one was.
func (c *Client) Fetch(ctx context.Context, s *Snapshot, files []File, dir string, report func(done int64)) error {
	for _, f := range files {
		if err := CheckFile(f.Path); err != nil {
			return &RefusedError{message: err.Error()}
		}
	}
	if err := checkDistinct(files); err != nil {
		return &RefusedError{message: err.Error()}
	}
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Int64
	stop := reportRegularly(&done, report)
	defer stop()
	slots := make(chan struct{}, max(1, c.Connections))
	var all sync.WaitGroup
	for _, f := range files {
		all.Go(func() {
			t := &transfer{client: c, snapshot: s, file: f, path: filepath.Join(dir, f.Path), slots: slots, done: &done}
			if err := t.run(ctx); err != nil {
				cancel(t.explain(err))
			}
		})
	}
	all.Wait()
	if outer.Err() != nil {
		return outer.Err()
	}
	return context.Cause(ctx)
}

// reportRegularly reports a count as it changes, until stop is called.
func reportRegularly(done *atomic.Int64, report func(int64)) (stop func()) {
	if report == nil {
		return func() {}
	}
	ended, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		ticks := time.NewTicker(reportEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				report(done.Load())
			case <-ended:
				report(done.Load())
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-left
	}
}

// Missing returns how many bytes of files are neither in a folder nor in the hub's
// cache.
func (c *Client) Missing(s *Snapshot, files []File, dir string) int64 {
	var n int64
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if info, err := os.Stat(path); err == nil && info.Size() == f.Size || c.cachedFile(s, f) != "" {
			continue
		}
		p := part{path: path, want: f}
		if info, err := os.Stat(path + partSuffix); err == nil && info.Size() == f.Size {
			_ = p.load()
		}
		n += f.Size - p.have.length()
	}
	return n
}

// transfer brings one file into its folder.
type transfer struct {
	client   *Client
	snapshot *Snapshot
	file     File
	path     string
	slots    chan struct{} // one for each connection
	done     *atomic.Int64

	part  *part
	whole bool // the server knows no ranges
}

// explain says which file an error is about.
func (t *transfer) explain(err error) error {
	var no *RefusedError
	if errors.As(err, &no) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s of %s: %w", quote.Line(t.file.Path, quote.Max), t.snapshot.ID, err)
}

// run makes sure that the file is there and sound.
func (t *transfer) run(ctx context.Context) error {
	if info, err := os.Lstat(t.path); err == nil {
		if err := verifyPath(ctx, t.path, t.file); err == nil || ctx.Err() != nil {
			t.done.Add(t.file.Size)
			return ctx.Err()
		}
		if info.IsDir() {
			return fmt.Errorf("%s is a folder", t.path)
		}
		if err := os.Remove(t.path); err != nil {
			return err
		}
	}
	if cached := t.client.cachedFile(t.snapshot, t.file); cached != "" && verifyPath(ctx, cached, t.file) == nil {
		if err := link(cached, t.path); err == nil {
			t.done.Add(t.file.Size)
			return nil
		}
	}
	if t.client.Offline {
		return refused("%s of %s is not in the hub's cache, and HF_HUB_OFFLINE is set", quote.Line(t.file.Path, quote.Max), t.snapshot.ID)
	}
	return t.download(ctx)
}

// link makes a file known under another name, which must not exist.
func link(from, to string) error {
	if err := os.Symlink(from, to); err == nil {
		return nil
	}
	return copyFile(from, to)
}

// maxRestarts bounds how often a file is begun anew.
const maxRestarts = 2

// download brings the file from the hub.
func (t *transfer) download(ctx context.Context) (err error) {
	if t.part, err = openPart(t.path, t.file); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.part.close()
		}
	}()
	t.done.Add(t.part.length())
	for restarts := 0; ; {
		if err = t.fill(ctx); err == nil {
			err = verify(ctx, t.part.file, t.file.Size, t.file)
		}
		switch {
		case err == nil:
			return t.part.finish()
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errNoRanges) && !t.whole:
			t.whole = true
		case (errors.Is(err, errChanged) || errors.Is(err, errHash)) && restarts < maxRestarts:
			restarts++
			t.done.Add(-t.part.length())
			if err := t.part.reset(); err != nil {
				return fmt.Errorf("%s: %w", t.path, atomicfile.Cause(err))
			}
		default:
			return err
		}
	}
}
