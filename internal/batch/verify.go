package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"

	"paligemma/internal/atomicfile"
)

// Kinds of findings.
const (
	FoundMissing    = "missing"    // a file of results
	FoundIncomplete = "incomplete" // such a file: the run was broken off
	FoundFailed     = "failed"     // a record
	FoundDouble     = "double"     // the id of a record
	FoundDamaged    = "damaged"    // a line
	FoundOther      = "other"      // a file of results: its part has other inputs than those that the job shared out
)

// Finding is what is wrong with results.
type Finding struct {
	Kind    string `json:"finding"`
	File    string `json:"file"`
	Record  int64  `json:"record,omitempty"` // from 1
	ID      string `json:"id,omitempty"`
	Code    string `json:"code,omitempty"` // of a failure
	Message string `json:"message,omitempty"`
}

// Verified is what Verify has read.
type Verified struct {
	Files    int
	Records  int64
	Failed   int64
	Findings int64
}

// verifier reads results.
type verifier struct {
	ctx   context.Context
	seed  maphash.Seed
	seen  map[uint64]struct{} // hashes of ids
	found func(Finding) error

	foundErr error  // of the caller, which ends it
	results  string // their format, where the extension does not say it
	Verified
}

// Verify reads what the runs with an --output have written, and calls found with what
// is missing, failed or there twice.
func Verify(ctx context.Context, path string, found func(Finding) error) (Verified, error) {
	o, err := openOutcome(path)
	if err != nil {
		return Verified{}, err
	}
	v := &verifier{ctx: ctx, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}, results: o.job.Results}
	v.found = func(f Finding) error {
		v.Findings++
		v.foundErr = found(f)
		return v.foundErr
	}
	for i := range o.files {
		v.Files++
		if err := v.file(&o.files[i]); err != nil {
			return v.Verified, err
		}
	}
	for _, f := range o.dealtOther() {
		if err := v.found(f); err != nil {
			return v.Verified, err
		}
	}
	return v.Verified, nil
}

// file reads the results in a file, or in its journal.
func (v *verifier) file(f *files) error {
	for _, path := range []string{f.path, f.journal} {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
		}
		defer file.Close()
		if path == f.path {
			return v.complete(f)
		}
		before := v.Records
		if err := v.records(path, file); err != nil {
			return err
		}
		return v.found(Finding{Kind: FoundIncomplete, File: f.path, Message: fmt.Sprintf("%d records so far", v.Records-before)})
	}
	return v.found(Finding{Kind: FoundMissing, File: f.path})
}

// complete reads complete results.
func (v *verifier) complete(f *files) error {
	if v.results == formatCOCO {
		return v.numbers(f)
	}
	lines, err := f.openLines()
	if err != nil {
		return err
	}
	defer lines.Close()
	err = v.records(f.path, lines)
	if err != nil && v.ctx.Err() == nil && v.foundErr == nil && f.format != formatLines {
		return v.found(Finding{Kind: FoundDamaged, File: f.path, Message: err.Error()})
	}
	return err
}

// numbers finds the failures in results that lack them by their numbers.
func (v *verifier) numbers(f *files) error {
	s, err := f.readStats()
	if err != nil {
		return v.found(Finding{Kind: FoundDamaged, File: f.path, Message: err.Error()})
	}
	v.Records += s.Records
	v.Failed += s.Failed
	if s.Failed > 0 {
		return v.found(Finding{Kind: FoundFailed, File: f.path, Message: fmt.Sprintf("%d of %d records", s.Failed, s.Records)})
	}
	return nil
}

// records reads lines of results.
func (v *verifier) records(path string, r io.Reader) error {
	lines := newRecordReader(r)
	for n := int64(1); ; n++ {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		case v.ctx.Err() != nil:
			return v.ctx.Err()
		}
		if err := v.record(path, n, line); err != nil {
			return err
		}
	}
}

// record reads a line of results.
func (v *verifier) record(path string, n int64, line recordLine) error {
	var r struct {
		ID      string   `json:"id"`
		Failure *Failure `json:"error"`
	}
	if !line.whole() || json.Unmarshal(line.text, &r) != nil {
		return v.found(Finding{Kind: FoundDamaged, File: path, Record: n})
	}
	v.Records++
	hash := maphash.Bytes(v.seed, line.id())
	if _, ok := v.seen[hash]; ok {
		if err := v.found(Finding{Kind: FoundDouble, File: path, Record: n, ID: r.ID}); err != nil {
			return err
		}
	}
	v.seen[hash] = struct{}{}
	if r.Failure == nil {
		return nil
	}
	v.Failed++
	return v.found(Finding{Kind: FoundFailed, File: path, Record: n, ID: r.ID, Code: r.Failure.Code, Message: r.Failure.Message})
}
