// Package source reads the inputs of a batch, one after the other: images that are
// named, folders, lists, JSON Lines, tar archives, Parquet and COCO files. None is
// held whole, so a list of a million lines gives its first record at once. What
// is wrong with an input is a record with an error, and the others follow.
package source

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"paligemma/internal/result"
)

// Stdin is the name of standard input.
const Stdin = "-"

// Record is an input: images, and what is asked of them.
type Record struct {
	ID      string
	Images  []Image
	Prompt  *string         // nil: those of the command
	Choices []string        // texts to rate; nil: those of the command
	Box     *[4]float64     // the part of the image that is asked about, in pixels
	Input   json.RawMessage // an object, carried into the result; nil: none
	Err     error           // what is wrong with the input; there is nothing to ask

	MaxTokens int   // to write; 0: as many as the command says
	Chat      bool  // it came in OpenAI's batch format, which its result is written in, too
	Line      int64 // of the file of JSON Lines, from 1; 0: of another kind of file
	Ends      bool  // Err is about the file that is read: what follows in it is not known
}

// Image is an image of a record.
type Image struct {
	Name string // of a file, or of an archive's member
	Data []byte // its bytes, where it is not a file
	Err  error  // why it cannot be read
}

// File reports whether the image is to be read from the file of its name.
func (i *Image) File() bool { return i.Data == nil && i.Err == nil }

// Shard is a part of the inputs with an order of its own: a file of records, or
// the images that are named one by one.
type Shard struct {
	Path string // of the file; "": of images
	Stem string // what a file of its results is called, without extension
	// Categories returns the categories of a COCO file; nil: the shard is not one.
	Categories func() ([]Category, error)

	read func(r *reading)
}

// Records returns the records of a shard in their order. want says of the next
// record whether the bytes of its images are needed: where they are not, they may
// be left out. The iteration may be repeated unless it reads standard input.
func (s *Shard) Records(ctx context.Context, want func() bool) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		r := &reading{ctx: ctx, want: want, shard: s.Path}
		r.yield = func(rec Record) bool {
			r.count++
			r.ended = r.ended || ctx.Err() != nil || !yield(rec)
			return !r.ended
		}
		s.read(r)
	}
}

// Countable reports whether reading the records twice is quick and possible: they are
// names, or lines in a file that is not compressed.
func (s *Shard) Countable() bool {
	if s.Path == "" {
		return true
	}
	switch strings.ToLower(filepath.Ext(s.Path)) {
	case ".tar", ".tgz", ".tzst", ".parquet", ".gz", ".zst":
		return false
	}
	info, err := os.Stat(s.Path)
	return err == nil && info.Mode().IsRegular()
}

// reading is an iteration over a shard.
type reading struct {
	ctx   context.Context
	want  func() bool
	shard string
	yield func(Record) bool // reports whether more records are wanted
	count int64             // records so far
	ended bool
}

// fail yields an error about the shard as a record: what follows in it is not known.
func (r *reading) fail(err error) {
	if r.ctx.Err() == nil && !r.ended {
		err = result.ImageError{Err: fmt.Errorf("%s: %w", r.shard, err)}
		r.yield(Record{ID: fmt.Sprintf("%s#%d", r.shard, r.count), Err: err, Ends: true})
	}
}

// Options say what the inputs are.
type Options struct {
	Args      []string // of the command line: files, folders, patterns, brace ranges, - for an image in standard input
	FilesFrom string   // a list of files, one a line; "": none; - is standard input
	Null      bool     // names in the list end with a zero byte
	Recursive bool     // the folders in folders are searched, too
	Requests  string   // a file of JSON Lines; "": none; - is standard input

	ImageRoot    string // what relative paths in files of records start from; "": the folder of the file
	ImageColumn  string // of Parquet; "": image
	PromptColumn string // "": prompt, if there is one
	IDColumn     string // "": id, if there is one

	Stdin    io.Reader
	MaxBytes func(path string) int64 // of an image
}

// Shards returns what the options name, in the order given. Nothing is opened yet.
func (o *Options) Shards() ([]Shard, error) {
	var shards []Shard
	var images []string
	flush := func() {
		if len(images) > 0 {
			shards = append(shards, o.imageShard(images))
			images = nil
		}
	}
	for _, arg := range o.Args {
		names, err := expandArgument(arg)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if s, ok := o.fileShard(name); ok && !isFolder(name) {
				flush()
				shards = append(shards, s)
			} else {
				images = append(images, name)
			}
		}
	}
	flush()
	if o.FilesFrom != "" {
		shards = append(shards, o.listShard())
	}
	if o.Requests != "" {
		shards = append(shards, o.lineShard(o.Requests))
	}
	nameStems(shards)
	return shards, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// fileShard returns the shard of a file of records, by its name.
func (o *Options) fileShard(path string) (Shard, bool) {
	switch base := cutCompression(path); strings.ToLower(filepath.Ext(base)) {
	case ".tar", ".tgz", ".tzst":
		return o.tarShard(path), true
	case ".jsonl", ".ndjson":
		return o.lineShard(path), true
	case ".parquet":
		if base == path { // not compressed as a whole
			return o.parquetShard(path), true
		}
	case ".json":
		return o.cocoShard(path), true
	}
	return Shard{}, false
}

// nameStems gives each shard a stem that no other has, in a file system that ignores
// case, too.
func nameStems(shards []Shard) {
	used := map[string]bool{}
	for i := range shards {
		stem := stemOf(shards[i].Path)
		name := stem
		for n := 2; used[strings.ToLower(name)]; n++ {
			name = fmt.Sprintf("%s-%d", stem, n)
		}
		used[strings.ToLower(name)] = true
		shards[i].Stem = name
	}
}

// stemOf returns what the results of a file of records are called.
func stemOf(path string) string {
	switch path {
	case "":
		return "images"
	case Stdin:
		return "stdin"
	}
	base := cutCompression(filepath.Base(path))
	if stem := strings.TrimSuffix(base, filepath.Ext(base)); stem != "" {
		return stem
	}
	return "records"
}

// maxBytes returns how many bytes an image of a file may have.
func (o *Options) maxBytes(path string) int64 {
	if o.MaxBytes == nil {
		return defaultMaxBytes
	}
	return o.MaxBytes(path)
}

const defaultMaxBytes = 64 << 20

// tooLong is the error of an image that has more bytes than allowed.
func tooLong(name string, limit int64) error {
	return result.ImageError{Err: fmt.Errorf("%s: %w of %d bytes (--max-bytes N allows more)", name, result.ErrTooLong, limit)}
}

// relative returns the path of an image that a file of records names: it starts from the
// folder of the file, or, where that is a pipe, from the working folder.
func (o *Options) relative(file, path string) string {
	switch {
	case filepath.IsAbs(path):
		return path
	case o.ImageRoot != "":
		path = filepath.Join(o.ImageRoot, path)
	case file != Stdin && !isPipe(file):
		path = filepath.Join(filepath.Dir(file), path)
	}
	return asFile(path)
}

// isPipe reports whether a file is a pipe, such as a shell's <(command), whose folder
// says nothing.
func isPipe(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular()
}

// namedImage returns the image that a record names: a path, or a data URL.
func (o *Options) namedImage(file, name string) Image {
	switch {
	case strings.HasPrefix(name, "data:"):
		return dataImage(name)
	case strings.HasPrefix(name, "http://"), strings.HasPrefix(name, "https://"):
		return Image{Name: name, Err: result.RequestError{Err: fmt.Errorf("%s: images are not downloaded: name a file", name)}}
	case name == "":
		return Image{Err: result.RequestError{Err: errors.New("the name of an image is empty")}}
	}
	return Image{Name: o.relative(file, strings.TrimPrefix(name, "file://"))}
}

// dataName is what an image is called whose bytes lie in a record.
const dataName = "data:"

// dataImage returns the image in a data URL.
func dataImage(url string) Image {
	head, data, ok := strings.Cut(url, ",")
	if !ok || !strings.HasSuffix(head, ";base64") {
		return Image{Name: dataName, Err: result.RequestError{Err: errors.New("want an image as data:image/png;base64,…")}}
	}
	decoded, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return Image{Name: dataName, Err: result.RequestError{Err: fmt.Errorf("the image's base64: %w", err)}}
	}
	return Image{Name: dataName, Data: decoded}
}
