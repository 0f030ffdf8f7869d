package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"paligemma/internal/atomicfile"
	"paligemma/internal/regular"
	"paligemma/internal/strictjson"
)

// Next to a file that is being downloaded lie these.
const (
	partSuffix  = ".part"      // its bytes so far, at their places
	stateSuffix = ".part.json" // which of them are there
)

const (
	saveEvery = time.Second / 2
	maxState  = 4 << 20 // bytes
	maxSpans  = 10_000
)

// errHash says that a file is not the one that the hub lists.
var errHash = errors.New("its hash is not the one in the hub's list")

// part is a file that is being downloaded. Its bytes are written before the state
// says so: whenever the process ends, what the state has is there.
type part struct {
	path string // of the whole file
	want File
	file *os.File

	saving sync.Mutex

	mu    sync.Mutex
	etag  string // of what the bytes are from; "": not known
	have  spans
	saved time.Time
}

// openPart opens a part where an earlier run left it, or an empty one.
func openPart(path string, want File) (*part, error) {
	file, err := os.OpenFile(path+partSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	p := &part{path: path, want: want, file: file, saved: time.Now()}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil && (info.Size() != want.Size || p.load() != nil) {
		err = p.reset()
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path+partSuffix, atomicfile.Cause(err))
	}
	return p, nil
}

// reset forgets all bytes.
func (p *part) reset() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.etag, p.have = "", nil
	if err := os.Remove(p.path + stateSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	return p.file.Truncate(p.want.Size)
}

// state is what is saved of a part.
type state struct {
	Size   int64      `json:"size"`
	SHA256 string     `json:"sha256"`
	Blob   string     `json:"blob"`
	ETag   string     `json:"etag"`
	Have   [][2]int64 `json:"have"`
}

// load reads the state of an earlier run.
func (p *part) load() error {
	s, err := readState(p.path + stateSuffix)
	if err != nil {
		return err
	}
	var have spans
	for _, pair := range s.Have {
		have = append(have, span{pair[0], pair[1]})
	}
	if s.Size != p.want.Size || s.SHA256 != p.want.SHA256 || s.Blob != p.want.Blob || !have.valid(s.Size) {
		return errors.New("of another file")
	}
	p.etag, p.have = s.ETag, have
	return nil
}

// readState reads the file of a state.
func readState(path string) (state, error) {
	var s state
	text, err := regular.ReadStart(path, maxState+1)
	if err == nil && len(text) > maxState {
		err = errors.New("too large")
	}
	if err != nil {
		return s, err
	}
	r, err := strictjson.NewReader(string(text))
	if err != nil {
		return s, err
	}
	size := func() (err error) { s.Size, err = r.Int(0, 1<<62); return err }
	have := func() error {
		return r.List(func() error {
			var pair []int64
			err := r.List(func() error {
				n, err := r.Int(0, 1<<62)
				pair = append(pair, n)
				return err
			})
			if err == nil && (len(pair) != 2 || len(s.Have) == maxSpans) {
				err = errors.New("not a list of spans")
			}
			if err == nil {
				s.Have = append(s.Have, [2]int64(pair))
			}
			return err
		})
	}
	if err := r.Fields(map[string]any{"size": size, "sha256": &s.SHA256, "blob": &s.Blob, "etag": &s.ETag, "have": have}); err != nil {
		return s, err
	}
	return s, r.End()
}

// save writes the state. Bytes are written meanwhile: what it says stays true.
func (p *part) save() error {
	p.saving.Lock()
	defer p.saving.Unlock()
	s := p.state()
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(p.path+stateSuffix, true)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Commit()
}

// state returns what is there now.
func (p *part) state() state {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := state{p.want.Size, p.want.SHA256, p.want.Blob, p.etag, [][2]int64{}}
	for _, a := range p.have[:min(len(p.have), maxSpans)] {
		s.Have = append(s.Have, [2]int64{a.from, a.to})
	}
	return s
}

// write puts bytes at their place, and returns how many of them are new.
func (p *part) write(b []byte, at int64) (gained int64, err error) {
	if _, err := p.file.WriteAt(b, at); err != nil {
		return 0, fmt.Errorf("%s: %w", p.path+partSuffix, atomicfile.Cause(err))
	}
	p.mu.Lock()
	gained = p.have.add(span{at, at + int64(len(b))})
	due := time.Since(p.saved) > saveEvery
	if due {
		p.saved = time.Now()
	}
	p.mu.Unlock()
	if due {
		err = p.save()
	}
	return gained, err
}

// missing returns what is not there yet, in pieces.
func (p *part) missing(most int64) []span {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have.missing(p.want.Size, most)
}

// length returns how many bytes are there.
func (p *part) length() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have.length()
}

// tag returns the entity tag of what the bytes are from.
func (p *part) tag() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.etag
}

// errChanged says that a server has another file now than when the part was begun.
var errChanged = errors.New("the server changed the file meanwhile")

// from holds an entity tag against that of the bytes before.
func (p *part) from(etag string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case etag == "" || etag == p.etag:
		return nil
	case p.etag != "":
		return errChanged
	}
	p.etag = etag
	return nil
}

// finish gives the whole file its name.
func (p *part) finish() error {
	err := p.file.Sync()
	if closed := p.file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(p.path+partSuffix, p.path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, atomicfile.Cause(err))
	}
	os.Remove(p.path + stateSuffix)
	return nil
}

// close saves the state of a file that is not whole.
func (p *part) close() {
	_ = p.save() // without it more has to be downloaded
	p.file.Close()
}

// verify holds a file's size and hash against the hub's list.
func verify(ctx context.Context, file io.ReaderAt, size int64, want File) error {
	if size != want.Size {
		return fmt.Errorf("it has %d bytes, %d in the hub's list", size, want.Size)
	}
	var h hash.Hash
	sum := want.SHA256
	switch {
	case want.SHA256 != "":
		h = sha256.New()
	case want.Blob != "":
		h, sum = sha1.New(), want.Blob
		fmt.Fprintf(h, "blob %d\x00", size)
	default:
		return nil
	}
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := file.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if n == 0 {
			return err
		}
		h.Write(buf[:n])
		at += int64(n)
	}
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return errHash
	}
	return nil
}

// verifyPath is verify of a file by its name.
func verifyPath(ctx context.Context, path string, want File) error {
	f, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return verify(ctx, f, f.Size(), want)
}
