package source

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"paligemma/internal/result"
)

// maxText bounds a member of an archive that is not an image, in bytes.
const maxText = 1 << 20

// tarShard is that of a tar archive in the layout of WebDataset: neighboring members
// whose paths are the same up to the first dot of the name are a sample.
func (o *Options) tarShard(file string) Shard {
	return Shard{Path: file, read: func(r *reading) {
		in, err := o.open(file)
		if err != nil {
			r.fail(err)
			return
		}
		defer in.close()
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			r.fail(errors.New("it is empty"))
			return
		}
		a := &archive{options: o, reading: r, file: file, limit: o.maxBytes(file)}
		if _, ok := in.Reader.(io.Seeker); ok {
			a.tar = tar.NewReader(in.Reader) // it leaps over what is not wanted
		} else {
			a.tar = tar.NewReader(bufio.NewReaderSize(in.Reader, 1<<16))
		}
		a.samples()
	}}
}

// archive is a tar file that is read.
type archive struct {
	*reading
	options *Options
	file    string
	limit   int64 // of an image, in bytes
	tar     *tar.Reader

	sample *Record // begun; nil: none
	fields fields  // of the sample
}

// samples yields the samples of the archive.
func (a *archive) samples() {
	for {
		header, err := a.tar.Next()
		switch {
		case errors.Is(err, io.EOF):
			a.finish()
			return
		case err != nil:
			if a.finish() {
				a.fail(fmt.Errorf("the archive is damaged or ends early: %w", err))
			}
			return
		}
		if header.Typeflag == tar.TypeDir || header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if strings.HasPrefix(path.Base(header.Name), ".") { // as macOS puts between the members of a sample
			continue
		}
		key, ext := splitKey(header.Name)
		if a.sample != nil && a.sample.ID != key && !a.finish() {
			return
		}
		if a.sample == nil {
			a.sample, a.fields = &Record{ID: key}, fields{}
		}
		if !a.member(header, ext) {
			return
		}
	}
}

// splitKey returns the key of a member's sample, and what follows its dot.
func splitKey(name string) (key, ext string) {
	dir, base := path.Split(name)
	base, ext, _ = strings.Cut(base, ".")
	return dir + base, strings.ToLower(ext)
}

// member adds a member to the sample. It returns false where the archive ends in it.
func (a *archive) member(header *tar.Header, ext string) bool {
	var err error
	switch {
	case namedAsImage("." + ext):
		err = a.image(header)
	case ext == "json", ext == "txt":
		err = a.text(header, ext)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		a.finish()
		return false
	}
	return true
}

// image adds the image of a sample, which is the first of its images. The error is
// in the image, too.
func (a *archive) image(header *tar.Header) error {
	if len(a.sample.Images) > 0 {
		return nil
	}
	var data []byte
	err := errSkipped
	switch {
	case header.Typeflag != tar.TypeReg:
		err = errors.New("not a regular file")
	case a.want():
		data, err = a.read(header, a.limit)
	}
	if err != nil {
		err = a.named(header, err)
	}
	a.sample.Images = append(a.sample.Images, Image{Name: header.Name, Data: data, Err: err})
	return err
}

// text adds a text of a sample. Its json is read as a line of JSON Lines is: a
// prompt, choices and a box count, and all else is carried. The error is in the
// sample, too.
func (a *archive) text(header *tar.Header, ext string) error {
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	data, err := a.read(header, maxText)
	switch {
	case err != nil:
		err = a.named(header, err)
	case ext == "txt":
		a.fields.addText(ext, string(data))
	default:
		if err = a.fields.parse(string(data)); err != nil {
			err = result.RequestError{Err: fmt.Errorf("the sample's json: %w", err)}
		}
	}
	if err != nil && a.sample.Err == nil {
		a.sample.Err = err
	}
	return err
}

// named says of which member an error is.
func (a *archive) named(header *tar.Header, err error) error {
	return result.ImageError{Err: fmt.Errorf("%s in %s: %w", header.Name, a.file, err)}
}

// errSkipped stands for the bytes of an image that were not wanted.
var errSkipped = errors.New("the image was not read")

// read reads the member whose header was read last.
func (a *archive) read(header *tar.Header, limit int64) ([]byte, error) {
	if header.Size > limit {
		return nil, fmt.Errorf("%d bytes are %w of %d", header.Size, result.ErrTooLong, limit)
	}
	data := make([]byte, 0, min(header.Size, 1<<20)) // what a header claims may not be there
	buf := make([]byte, 32<<10)
	for {
		n, err := a.tar.Read(buf)
		data = append(data, buf[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, err
		}
	}
}

// finish yields the sample that was begun, if there is one with an image. It reports
// whether more are wanted.
func (a *archive) finish() bool {
	s := a.sample
	a.sample = nil
	if s == nil || (len(s.Images) == 0 && s.Err == nil) {
		return !a.ended
	}
	s.Prompt, s.Choices, s.Box, s.Input = a.fields.prompt, a.fields.choices, a.fields.box, a.fields.object()
	return a.yield(*s)
}
