package batch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/gguf"
	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// FormatVersion is that of records: it changes where a later program would write
// others for the same inputs.
const FormatVersion = 1

// Job is what results depend on, besides their inputs. It is kept next to an output:
// a run goes on where another one stopped only if it is the same job.
type Job struct {
	Format      int         `json:"format"`
	Model       Model       `json:"model"`
	Adapters    []string    `json:"adapters,omitempty"`
	Task        string      `json:"task"`
	Prompts     []string    `json:"prompts,omitempty"`
	Own         string      `json:"own,omitempty"` // what is put before the prompts of records
	Choices     []string    `json:"choices,omitempty"`
	Box         *[4]float64 `json:"box,omitempty"`
	MaxTokens   int         `json:"max_tokens,omitempty"`
	Temperature float64     `json:"temperature,omitempty"`
	TopK        int         `json:"top_k,omitempty"`
	TopP        float64     `json:"top_p,omitempty"`
	Seed        uint64      `json:"seed,omitempty"`
	Beams       int         `json:"beams,omitempty"`
	NumReturn   int         `json:"num_return,omitempty"`
	LogProbs    int         `json:"logprobs,omitempty"`
	StopRepeats bool        `json:"stop_repeats,omitempty"`
	Special     bool        `json:"special,omitempty"`
	Masks       bool        `json:"masks,omitempty"`   // decoded
	Results     string      `json:"results,omitempty"` // their format, where the extension does not say it
	Shards      int         `json:"shards,omitempty"`
	// Outputs are the names of all files of results, of other parts, too. Inputs may be
	// added, so a job with others is the same one.
	Outputs []string `json:"outputs,omitempty"`
	Dealt   bool     `json:"dealt,omitempty"` // records are dealt out to the parts, not whole files of inputs
	Files   *Shares  `json:"files,omitempty"` // these, where results of several are in one file
	// RecordsPerFile is how many each numbered file has; 0: the files have other names.
	RecordsPerFile int64 `json:"records_per_file,omitempty"`
}

// Model tells models apart, without reading all of a file.
type Model struct {
	Name   string `json:"name"` // as it was named: another name may be the same model
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of the header and of samples of the rest
}

const (
	samples    = 256
	sampleSize = 4096
)

// NewModel describes the model in a file.
func NewModel(name string, file *gguf.File) Model {
	data, sum := file.Bytes(), sha256.New()
	size := int64(len(data))
	sum.Write(data[:min(file.Header.DataOffset, size)])
	for i := range int64(samples) {
		at := size / samples * i
		sum.Write(data[at:min(at+sampleSize, size)])
	}
	return Model{name, size, hex.EncodeToString(sum.Sum(nil))}
}

// differences says in what another job differs, and is "" if it does not.
func (j Job) differences(other Job) string {
	j.Model.Name, other.Model.Name = "", ""
	j.Outputs, other.Outputs = nil, nil
	j.Dealt, other.Dealt = false, false
	j.Files, other.Files = nil, nil
	mine, theirs := j.fields(), other.fields()
	all := maps.Clone(mine)
	maps.Copy(all, theirs)
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if mine[key] != theirs[key] {
			parts = append(parts, fmt.Sprintf("%s was %s, is %s", key, shownValue(theirs[key]), shownValue(mine[key])))
		}
	}
	return strings.Join(parts, "; ")
}

// fields returns the job's fields as JSON.
func (j Job) fields() map[string]string {
	data, _ := json.Marshal(j)
	var raw map[string]json.RawMessage
	_ = json.Unmarshal(data, &raw)
	fields := map[string]string{}
	for key, value := range raw {
		fields[key] = string(value)
	}
	return fields
}

func shownValue(v string) string {
	if v == "" {
		return "not given"
	}
	return quote.Line(v, quote.Max)
}

// maxJob bounds the file of a job, in bytes.
const maxJob = 64 << 20

// readJob reads the file of a job. The error is an [fs.ErrNotExist] where there is none.
func readJob(path string) (Job, error) {
	f, err := os.Open(path)
	if err != nil {
		return Job{}, atomicfile.Cause(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJob))
	if err != nil {
		return Job{}, atomicfile.Cause(err)
	}
	var j Job
	if err := json.Unmarshal(data, &j); err != nil {
		return Job{}, quote.Error(err)
	}
	return j, nil
}

// writeFile writes a small file of JSON, whole or not at all.
func writeFile(path string, v any, overwrite bool) error {
	data, err := result.Marshal(v)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, data, "", "  "); err != nil {
		return err
	}
	out, err := atomicfile.Create(path, overwrite)
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := out.Write(append(text.Bytes(), '\n')); err != nil {
		return err
	}
	return out.Commit()
}

// claim makes sure that the output is this job's: its file is written where there is
// none. A seed that was not asked for becomes that of the job.
func (j *Job) claim(path string, drawnSeed bool) error {
	err := writeFile(path, *j, false)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	old, err := readJob(path)
	if err != nil {
		return fmt.Errorf("%s: %w (--overwrite starts anew)", path, err)
	}
	if drawnSeed && old.Temperature > 0 && j.Temperature > 0 {
		j.Seed = old.Seed
	}
	if d := j.differences(old); d != "" {
		return result.RequestError{Err: fmt.Errorf("the output belongs to another job (--overwrite starts anew): %s", d)}
	}
	return j.agree(path, old)
}

// agree makes the job's file say which files of results there are, and how inputs are dealt
// out to parts. old is what it says.
func (j *Job) agree(path string, old Job) error {
	if j.Shards > 1 && j.Outputs != nil && lists(old.Outputs, j.Outputs) { // another part knows of more files
		j.Outputs = old.Outputs
	}
	switch {
	case old.dealt() && !j.sameDealing(old):
		return result.RequestError{Err: errors.New("another part has begun with other files of inputs: run it again")}
	case !slices.Equal(old.Outputs, j.Outputs) || !j.sameDealing(old) || old.Files == nil && j.Files != nil:
		old.Outputs, old.Dealt, old.Files = j.Outputs, j.Dealt, j.Files
		return writeFile(path, old, true)
	}
	return nil
}

// lists reports whether names has all of some, and more.
func lists(names, some []string) bool {
	if len(names) <= len(some) {
		return false
	}
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
	}
	return !slices.ContainsFunc(some, func(name string) bool { return !known[name] })
}
