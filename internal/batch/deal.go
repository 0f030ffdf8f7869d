package batch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"paligemma/internal/batch/source"
)

// dealing is how inputs are dealt out to parts. A job remembers it from its first run on,
// for files that are added to the inputs would change it.
type dealing struct {
	records bool    // one by one, in turn, and not as whole files
	files   *Shares // of whole files; nil: records are dealt out, there is one part, or each file has its own results
}

// Shares are the files of inputs that were shared out to parts as a whole, about as many to
// each. Those that are added later are the last part's.
type Shares struct {
	Count  int    `json:"count"`
	SHA256 string `json:"sha256"` // of their names, without folders
	All    int    `json:"all"`    // with those that were added so far
}

// Seen are inputs whose records are dealt out to parts: what all parts have to see.
type Seen struct {
	Records int64  `json:"records"`
	SHA256  string `json:"sha256"` // of their ids, without folders
}

// SharedError says that files of inputs are not those that were shared out to parts.
type SharedError struct{ Count int } // of those that were

// Error says what may be added.
func (e *SharedError) Error() string {
	return fmt.Sprintf("the files of inputs are not those that were shared out to --shard, which were %d: others may only be added after them (--overwrite starts anew)", e.Count)
}

// sumNames returns a hash of the names of files.
func sumNames(shards []source.Shard) string {
	sum := sha256.New()
	for _, s := range shards {
		name := ""
		if s.Path != "" {
			name = filepath.Base(s.Path)
		}
		fmt.Fprintf(sum, "%s\x00", name)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// deal deals inputs out to the parts of a job, as the run before did.
func (o *Options) deal(out output, shards []source.Shard) (dealing, error) {
	n := o.Part.N
	d := dealing{records: len(shards) < max(1, n)}
	if o.Part.whole() {
		return d, nil
	}
	old, err := readJob(out.job())
	known := err == nil && !o.Overwrite && old.Shards == n && old.dealt()
	if known {
		d.records = old.Dealt
	}
	if d.records || out.folder && o.RecordsPerFile == 0 {
		return d, nil
	}
	d.files = &Shares{Count: len(shards), SHA256: sumNames(shards), All: len(shards)}
	if !known || old.Files == nil {
		return d, nil
	}
	d.files.Count, d.files.SHA256 = old.Files.Count, old.Files.SHA256
	if was := old.Files.Count; was < 0 || was > len(shards) || sumNames(shards[:was]) != old.Files.SHA256 {
		return d, &SharedError{was}
	}
	return d, nil
}

// part returns the shards of a part, and the part of their records: whole shards that follow
// each other, or, where records are dealt out, a part of each one's records.
func (d dealing) part(shards []source.Shard, part Part) ([]source.Shard, Part) {
	if d.records {
		return shards, part
	}
	shared, n := len(shards), max(1, part.N)
	if d.files != nil {
		shared = d.files.Count
	}
	first, end := part.I*shared/n, (part.I+1)*shared/n
	if part.I == n-1 {
		end = len(shards)
	}
	return shards[first:end], Part{}
}

// note notes it in a job.
func (d dealing) note(job *Job, part Part) {
	if !part.whole() {
		job.Shards, job.Dealt, job.Files = part.N, d.records, d.files
	}
}

// dealt reports whether a job says how inputs were dealt out to parts.
func (j Job) dealt() bool {
	return j.Shards > 1 && (j.Dealt || j.Files != nil || j.Outputs != nil || j.RecordsPerFile > 0)
}

// sameDealing reports whether two runs of a job dealt the inputs out in the same way.
func (j Job) sameDealing(other Job) bool {
	if j.Dealt != other.Dealt {
		return false
	}
	a, b := j.Files, other.Files // nil in those of earlier versions
	return a == nil || b == nil || a.Count == b.Count && a.SHA256 == b.SHA256
}
