package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"paligemma/internal/result"
)

// cocoShard is that of the images in a COCO file.
func (o *Options) cocoShard(file string) Shard {
	return Shard{Path: file, read: func(r *reading) {
		in, err := o.open(file)
		if err != nil {
			r.fail(err)
			return
		}
		defer in.close()
		text := bufio.NewReader(in)
		if mark, _ := text.Peek(len(byteOrderMark)); bytes.Equal(mark, byteOrderMark) {
			_, _ = text.Discard(len(mark))
		}
		if err := o.cocoImages(r, file, json.NewDecoder(text)); err != nil {
			r.fail(err)
		}
	}}
}

// errNotCOCO says what a .json file should be.
var errNotCOCO = errors.New(`not a COCO file, which has "images": JSON Lines are called .jsonl`)

// cocoImages yields the elements of "images"; all before it is passed over, and what
// follows is not read.
func (o *Options) cocoImages(r *reading, file string, in *json.Decoder) error {
	if t, err := in.Token(); err != nil || t != json.Delim('{') {
		return errNotCOCO
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return err
		}
		if key != "images" {
			if err := skipValue(in); err != nil {
				return err
			}
			continue
		}
		if t, err := in.Token(); err != nil || t != json.Delim('[') {
			return errNotCOCO
		}
		for in.More() {
			var image cocoImage
			if err := in.Decode(&image); err != nil {
				return err
			}
			if !r.yield(o.cocoRecord(file, image)) {
				return nil
			}
		}
		_, err = in.Token() // the end, which a file that was cut lacks
		return err
	}
	return errNotCOCO
}

// cocoImage is an element of a COCO file's images.
type cocoImage struct {
	ID   json.Number `json:"id"`
	File string      `json:"file_name"`
}

// cocoRecord is the record of an image. Its number is carried into the result.
func (o *Options) cocoRecord(file string, image cocoImage) Record {
	rec := Record{ID: image.ID.String()}
	if image.ID == "" || image.File == "" {
		rec.Err = result.RequestError{Err: errors.New(`an image of a COCO file lacks "id" or "file_name"`)}
		if image.ID == "" {
			rec.ID = image.File
		}
		return rec
	}
	rec.Images = []Image{o.namedImage(file, image.File)}
	rec.Input = json.RawMessage(fmt.Sprintf(`{"image_id":%s}`, image.ID))
	return rec
}

// skipValue passes over a value, which is not held.
func skipValue(in *json.Decoder) error {
	depth := 0
	for {
		t, err := in.Token()
		switch {
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
