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
	return Shard{
		Path: file,
		read: func(r *reading) {
			found, err := o.cocoList(file, "images", func(in *json.Decoder) (more bool, err error) {
				var image cocoImage
				if err := in.Decode(&image); err != nil {
					return false, err
				}
				return r.yield(o.cocoRecord(file, image)), nil
			})
			if err == nil && !found {
				err = errNotCOCO
			}
			if err != nil {
				r.fail(err)
			}
		},
		Categories: func() (list []Category, err error) {
			_, err = o.cocoList(file, "categories", func(in *json.Decoder) (more bool, err error) {
				var c Category
				err = in.Decode(&c)
				list = append(list, c)
				return err == nil, err
			})
			if err != nil {
				return nil, fmt.Errorf("%s: categories: %w", file, err)
			}
			return list, nil
		},
	}
}

// Category is what a COCO file calls objects.
type Category struct {
	ID   json.Number `json:"id"`
	Name string      `json:"name"`
}

// errNotCOCO says what a .json file should be.
var errNotCOCO = errors.New(`not a COCO file, which has "images": JSON Lines are called .jsonl`)

// cocoList calls each for the elements of a list in a COCO file, as long as it wants more;
// all before the list is passed over, and what follows is not read. found says that there
// is one.
func (o *Options) cocoList(file, name string, each func(in *json.Decoder) (more bool, err error)) (found bool, err error) {
	f, err := o.open(file)
	if err != nil {
		return false, err
	}
	defer f.close()
	text := bufio.NewReader(f)
	if mark, _ := text.Peek(len(byteOrderMark)); bytes.Equal(mark, byteOrderMark) {
		_, _ = text.Discard(len(mark))
	}
	in := json.NewDecoder(text)
	if t, err := in.Token(); err != nil || t != json.Delim('{') {
		return false, errNotCOCO
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return false, err
		}
		if key == name {
			return true, eachElement(in, each)
		}
		if err := skipValue(in); err != nil {
			return false, err
		}
	}
	return false, nil
}

// eachElement calls each for the elements of a list, as long as it wants more.
func eachElement(in *json.Decoder, each func(in *json.Decoder) (more bool, err error)) error {
	if t, err := in.Token(); err != nil || t != json.Delim('[') {
		return errNotCOCO
	}
	for in.More() {
		if more, err := each(in); err != nil || !more {
			return err
		}
	}
	_, err := in.Token() // the end, which a file that was cut lacks
	return err
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
