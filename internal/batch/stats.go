package batch

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"paligemma/internal/atomicfile"
	"paligemma/internal/batch/source"
)

// Stats are what is known of complete results.
type Stats struct {
	Records       int64            `json:"records"`
	Failed        int64            `json:"failed"`
	Codes         map[string]int64 `json:"codes,omitempty"` // of the failures, how often
	PrefillTokens int64            `json:"prefill_tokens"`
	DecodeTokens  int64            `json:"decode_tokens"`
	Seconds       float64          `json:"seconds"`            // of the run that completed them,
	Answered      int64            `json:"answered"`           // the records that it answered,
	Rate          float64          `json:"records_per_second"` // and how many a second
	Final         bool             `json:"final,omitempty"`    // of numbered files: it is the last one
	Sources       []string         `json:"sources"`
	LastID        json.RawMessage  `json:"last_id,omitempty"` // of the last record
	Seen          *Seen            `json:"inputs,omitempty"`  // where records are dealt out to parts
	Job           Job              `json:"job"`
}

// counted is what is counted of a record.
type counted struct {
	ID      json.RawMessage `json:"id"`
	Failure *Failure        `json:"error"`
	Timings struct {
		Prefill int64 `json:"prefill_tokens"`
		Decode  int64 `json:"decode_tokens"`
	} `json:"timings"`
	Response struct {
		Body struct {
			Usage chatUsage `json:"usage"`
		} `json:"body"`
	} `json:"response"`
}

// count reads the records of a journal and counts them.
func (s *Stats) count(r io.Reader) error {
	return eachLine(newRecordReader(r), func(line []byte) error {
		var c counted
		if err := json.Unmarshal(line, &c); err != nil {
			return err
		}
		s.Records++
		s.LastID = append(s.LastID[:0], c.ID...)
		if c.Failure != nil {
			s.Failed++
			if s.Codes == nil {
				s.Codes = map[string]int64{}
			}
			s.Codes[c.Failure.Code]++
		}
		s.PrefillTokens += c.Timings.Prefill + int64(c.Response.Body.Usage.Prompt)
		s.DecodeTokens += c.Timings.Decode + int64(c.Response.Body.Usage.Completion)
		return nil
	})
}

// newStats counts the records of a journal that a run completed.
func newStats(j *journal, shards []source.Shard, job Job, answered int64, took time.Duration) (Stats, error) {
	job.Outputs = nil // which may be many
	s := Stats{Answered: answered, Seconds: took.Seconds(), Job: job, Sources: []string{}}
	if s.Seconds > 0 {
		s.Rate = float64(answered) / s.Seconds
	}
	for _, shard := range shards {
		if shard.Path != "" {
			s.Sources = append(s.Sources, shard.Path)
		}
	}
	return s, s.count(io.NewSectionReader(j.file, 0, j.size))
}

// readStats returns the numbers of complete results, from their file, else from the
// results themselves if they are lines.
func (f *files) readStats() (Stats, error) {
	if s, ok := f.storedStats(); ok {
		return s, nil
	}
	if f.format != formatLines {
		return Stats{}, fmt.Errorf("%s: the numbers of %s are missing (--overwrite starts anew)", f.stats, f.path)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", f.path, atomicfile.Cause(err))
	}
	defer file.Close()
	s := Stats{}
	if err := s.count(file); err != nil {
		return s, fmt.Errorf("%s: %w", f.path, err)
	}
	return s, nil
}

// storedStats returns the numbers of complete results that their file has.
func (f *files) storedStats() (s Stats, ok bool) {
	data, err := os.ReadFile(f.stats)
	ok = err == nil && json.Unmarshal(data, &s) == nil
	return s, ok
}
