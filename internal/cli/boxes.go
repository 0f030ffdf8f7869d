package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"image"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/coco"
	"paligemma/internal/result"
	"paligemma/internal/task"
)

// Values of --format that are about boxes only.
const (
	formatCSV  = "csv"
	formatCOCO = "coco"
	formatYOLO = "yolo"
)

// boxFormats are those of detect, segment and parse.
var boxFormats = []string{formatCSV, formatCOCO, formatYOLO}

// givesBoxes marks a command that knows them.
const givesBoxes = "paligemma_boxes"

// checkBoxFormat refuses a format for boxes where there are none. A variable, which
// is for many commands, means nothing then.
func (a *app) checkBoxFormat(cmd *cobra.Command) error {
	if !slices.Contains(boxFormats, a.common.Format) || cmd.Annotations[givesBoxes] != "" {
		return nil
	}
	if typed(cmd.Flags(), "format") {
		return usageError{fmt.Errorf("--format %s is for boxes, which detect, segment and parse find: want text, json or jsonl", a.common.Format)}
	}
	a.common.Format = formatText
	return nil
}

// boxPage is the objects of a text, and the image that they are on.
type boxPage struct {
	image   string // its path; "": not known
	number  int    // of the image among those of the run, from 1
	line    int    // of the text, with parse
	name    string // for files
	size    image.Point
	objects *objects
	scores  bool // confidences are asked for
}

// boxWriter writes boxes in a format for other programs.
type boxWriter interface {
	add(p boxPage) error
	close() error // is called after errors, too
}

// newBoxWriter makes the writer of a format; nil where it is none for boxes. Labels
// that were asked for come first among the classes.
func (a *app) newBoxWriter(o objectOptions, f *files, labels []string) boxWriter {
	switch a.common.Format {
	case formatCSV:
		return &csvWriter{w: csv.NewWriter(a.Out)}
	case formatCOCO:
		return newCOCOWriter(a, labels)
	case formatYOLO:
		return &yoloWriter{app: a, dir: o.LabelDir, files: f, classes: coco.NewClasses(labels)}
	}
	return nil
}

// askedLabels returns the objects that OBJECTS names.
func askedLabels(what string) []string {
	var labels []string
	for label := range strings.SplitSeq(what, ";") {
		if label = strings.TrimSpace(label); label != "" {
			labels = append(labels, label)
		}
	}
	return labels
}

// coordinate formats a number of pixels, with four decimals at most.
func coordinate(v float64) string { return strconv.FormatFloat(task.Round(v), 'f', -1, 64) }

// csvHeader names the columns. They are the same for every command.
var csvHeader = []string{"image", "width", "height", "label", "x0", "y0", "x1", "y1", "confidence", "area", "mask_file", "line"}

// csvWriter writes a line for each object, quoted as RFC 4180 says.
type csvWriter struct {
	w     *csv.Writer
	begun bool
}

func (c *csvWriter) add(p boxPage) error {
	if err := c.begin(); err != nil {
		return err
	}
	for i, o := range p.objects.Objects.Objects {
		row := []string{p.image, strconv.Itoa(p.size.X), strconv.Itoa(p.size.Y), o.Label}
		for _, v := range o.Box {
			row = append(row, coordinate(v))
		}
		area, line := "", ""
		if o.Mask != nil {
			area = strconv.Itoa(o.Mask.Area)
		}
		if p.line > 0 {
			line = strconv.Itoa(p.line)
		}
		if err := c.w.Write(append(row, confidenceColumn(o.Confidence), area, p.objects.maskFiles[i], line)); err != nil {
			return err
		}
	}
	c.w.Flush()
	return c.w.Error()
}

// begin writes the header, once.
func (c *csvWriter) begin() error {
	if c.begun {
		return nil
	}
	c.begun = true
	return c.w.Write(csvHeader)
}

func (c *csvWriter) close() error {
	err := c.begin()
	c.w.Flush()
	return errors.Join(err, c.w.Error())
}

// cocoWriter collects the annotations, and writes them at the end.
type cocoWriter struct {
	app     *app
	file    coco.Dataset
	classes coco.Classes
	empty   int // boxes without an area
}

func newCOCOWriter(a *app, labels []string) *cocoWriter {
	return &cocoWriter{app: a, classes: coco.NewClasses(labels), file: coco.Dataset{
		Images: []coco.Image{}, Annotations: []coco.Annotation{}, Categories: []coco.Category{},
	}}
}

func (c *cocoWriter) add(p boxPage) error {
	id := coco.Number(p.number)
	if n := len(c.file.Images); n == 0 || c.file.Images[n-1].ID != id {
		c.file.Images = append(c.file.Images, coco.Image{ID: id, FileName: p.image, Width: p.size.X, Height: p.size.Y})
	}
	for _, o := range p.objects.List() {
		if !coco.HasArea(o.Box) {
			c.empty++
			continue
		}
		annotation := coco.NewAnnotation(o, id, coco.Number(c.classes.Number(o.Label)+1))
		annotation.ID = int64(len(c.file.Annotations) + 1)
		c.file.Annotations = append(c.file.Annotations, *annotation)
	}
	return nil
}

func (c *cocoWriter) close() error {
	c.app.noteNoArea(c.empty)
	c.file.Categories = c.classes.Categories()
	data, err := result.Marshal(c.file)
	if err != nil {
		return err
	}
	_, err = c.app.Out.Write(append(data, '\n'))
	return err
}

// noteNoArea says that boxes were left out.
func (a *app) noteNoArea(n int) {
	if n > 0 {
		a.note("boxes left out, because they have no area: %d (--format json has them)", n)
	}
}

// classFile is the list of the classes next to files of labels.
const classFile = "classes.txt"

// yoloWriter writes a line for each object, "class x y w h" between 0 and 1, x and y
// being the middle of the box: to standard output, or into a file for each image.
type yoloWriter struct {
	app     *app
	dir     string // "": standard output
	files   *files
	classes coco.Classes
	empty   int
}

func (y *yoloWriter) add(p boxPage) error {
	var b strings.Builder
	for _, o := range p.objects.Objects.Objects {
		if !coco.HasArea(o.Box) {
			y.empty++
			continue
		}
		n := o.Normalized
		fmt.Fprintf(&b, "%d %.6f %.6f %.6f %.6f", y.classes.Number(o.Label), (n[0]+n[2])/2, (n[1]+n[3])/2, n[2]-n[0], n[3]-n[1])
		if p.scores && o.Confidence != nil {
			fmt.Fprintf(&b, " %.6f", *o.Confidence)
		}
		b.WriteByte('\n')
	}
	if y.dir == "" {
		_, err := io.WriteString(y.app.Out, b.String())
		return err
	}
	return y.files.write(labelPath(y.dir, p.name), func(w io.Writer) error {
		_, err := io.WriteString(w, b.String())
		return err
	})
}

// labelPath is the file of the labels of an image with a name.
func labelPath(dir, name string) string { return filepath.Join(dir, name+".txt") }

func (y *yoloWriter) close() error {
	y.app.noteNoArea(y.empty)
	if y.dir == "" {
		var list []string
		for i, name := range y.classes.Names {
			list = append(list, fmt.Sprintf("%d %s", i, name))
		}
		y.app.note("classes: %s", strings.Join(list, ", "))
		return nil
	}
	return y.files.write(filepath.Join(y.dir, classFile), func(w io.Writer) error {
		for _, name := range y.classes.Names {
			if _, err := fmt.Fprintln(w, escapeText.Replace(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkLabelDir finds what is in the way of the files of labels of images with
// names.
func (f *files) checkLabelDir(dir string, names []string) error {
	list := strings.TrimSuffix(classFile, ".txt")
	if slices.Contains(names, list) {
		return fmt.Errorf("--label-dir %s: an image is called %q, whose labels would be the list of classes: rename it", dir, list)
	}
	for _, name := range append(slices.Clone(names), list) {
		if err := f.check(labelPath(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
