package batch

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"paligemma/internal/batch/source"
	"paligemma/internal/coco"
	"paligemma/internal/result"
	"paligemma/internal/task"
)

// COCO asks for results in the formats of COCO.
type COCO struct {
	Labels []string // of the objects that are asked for
}

// cocoFormat writes records in the formats of COCO: of COCO files the results, which have
// the ids of these, and of other inputs a data set.
type cocoFormat struct {
	labels []string
	shards []source.Shard
}

// newCOCOFormat returns how the results of inputs are written.
func newCOCOFormat(o *COCO, shards []source.Shard) (*cocoFormat, error) {
	files := 0
	for i := range shards {
		if shards[i].Categories != nil {
			files++
		}
	}
	if files > 0 && files < len(shards) {
		return nil, errors.New("--format coco: COCO files and other inputs do not go into one file: ask about them apart")
	}
	return &cocoFormat{o.Labels, shards}, nil
}

// results reports whether all inputs are COCO files.
func (c *cocoFormat) results() bool { return len(c.shards) > 0 && c.shards[0].Categories != nil }

// write writes records, which read begins to read anew.
func (c *cocoFormat) write(w io.Writer, read func() *recordReader) error {
	out := bufio.NewWriter(w)
	var err error
	if c.results() {
		err = c.writeResults(out, read())
	} else {
		err = c.writeDataset(out, read)
	}
	return errors.Join(err, out.Flush())
}

// cocoRecord is what COCO has of a record.
type cocoRecord struct {
	Failure    *Failure     `json:"error"`
	Image      string       `json:"image"`
	Width      int          `json:"width"`
	Height     int          `json:"height"`
	Confidence *float64     `json:"confidence"`
	Objects    []task.Found `json:"objects"`
	Input      struct {
		ImageID json.Number `json:"image_id"`
	} `json:"input"`

	number int // of the image, from 1: neighbors may be about the same one
}

// eachCOCO calls f with the records that are not failures.
func eachCOCO(lines *recordReader, f func(r *cocoRecord) error) error {
	number, last := 0, ""
	return eachLine(lines, func(line []byte) error {
		var r cocoRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		if number == 0 || r.Image != last {
			number++
		}
		r.number, last = number, r.Image
		if r.Failure != nil {
			return nil
		}
		return f(&r)
	})
}

// eachAnnotation calls f with the objects of a record that have an area.
func (r *cocoRecord) eachAnnotation(image json.Number, category func(label string) json.Number, f func(*coco.Annotation) error) error {
	for _, o := range r.Objects {
		if !coco.HasArea(o.Box) {
			continue
		}
		id := category(o.Label)
		if id == "" {
			continue
		}
		a := coco.NewAnnotation(o, image, id)
		if a.Score == nil {
			a.Score = r.Confidence
		}
		if err := f(a); err != nil {
			return err
		}
	}
	return nil
}

// arrayWriter writes an array of JSON, a line each.
type arrayWriter struct {
	w *bufio.Writer
	n int64 // elements so far
}

// add adds an element.
func (a *arrayWriter) add(v any) error {
	data, err := result.Marshal(v)
	if err != nil {
		return err
	}
	before := ",\n"
	if a.n == 0 {
		before = "[\n"
	}
	a.n++
	_, _ = a.w.WriteString(before)
	_, err = a.w.Write(data)
	return err
}

// close ends the array.
func (a *arrayWriter) close() {
	if a.n == 0 {
		_, _ = a.w.WriteString("[]")
	} else {
		_, _ = a.w.WriteString("\n]")
	}
}

// writeResults writes the array of results that belongs to a COCO file.
func (c *cocoFormat) writeResults(w *bufio.Writer, lines *recordReader) error {
	category, err := c.categories()
	if err != nil {
		return err
	}
	list := &arrayWriter{w: w}
	err = eachCOCO(lines, func(r *cocoRecord) error {
		return r.eachAnnotation(r.Input.ImageID, category, func(a *coco.Annotation) error {
			a.ID = list.n + 1
			return list.add(a)
		})
	})
	list.close()
	_, _ = w.WriteString("\n")
	return err
}

// categories returns what gives the ids of labels: those of the COCO files, "" for others,
// or numbers where the files have none.
func (c *cocoFormat) categories() (func(label string) json.Number, error) {
	ids := map[string]json.Number{}
	for i := range c.shards {
		list, err := c.shards[i].Categories()
		if err != nil {
			return nil, err
		}
		for _, category := range list {
			ids[strings.ToLower(category.Name)] = category.ID
		}
	}
	if len(ids) == 0 {
		classes := coco.NewClasses(c.labels)
		return numberedClasses(&classes), nil
	}
	return func(label string) json.Number { return ids[strings.ToLower(label)] }, nil
}

// numberedClasses returns what gives the ids of classes that are numbered as they come.
func numberedClasses(classes *coco.Classes) func(label string) json.Number {
	return func(label string) json.Number { return coco.Number(classes.Number(label) + 1) }
}

// writeDataset writes images, annotations and categories.
func (c *cocoFormat) writeDataset(w *bufio.Writer, read func() *recordReader) error {
	_, _ = w.WriteString(`{"images":`)
	images, last := &arrayWriter{w: w}, 0
	err := eachCOCO(read(), func(r *cocoRecord) error {
		if r.number == last {
			return nil
		}
		last = r.number
		return images.add(coco.Image{ID: coco.Number(r.number), FileName: r.Image, Width: r.Width, Height: r.Height})
	})
	if err != nil {
		return err
	}
	images.close()
	_, _ = w.WriteString(`,"annotations":`)
	classes, annotations := coco.NewClasses(c.labels), &arrayWriter{w: w}
	err = eachCOCO(read(), func(r *cocoRecord) error {
		return r.eachAnnotation(coco.Number(r.number), numberedClasses(&classes), func(a *coco.Annotation) error {
			a.ID = annotations.n + 1
			return annotations.add(a)
		})
	})
	if err != nil {
		return err
	}
	annotations.close()
	categories, err := result.Marshal(classes.Categories())
	_, _ = w.WriteString(`,"categories":`)
	_, _ = w.Write(append(categories, "}\n"...))
	return err
}
