// Package coco is the annotations and results of COCO, as pycocotools reads them.
package coco

import (
	"encoding/json"
	"strconv"

	"paligemma/internal/mask"
	"paligemma/internal/task"
)

// Dataset is a file of annotations.
type Dataset struct {
	Images      []Image      `json:"images"`
	Annotations []Annotation `json:"annotations"`
	Categories  []Category   `json:"categories"`
}

// Image is an image of a data set.
type Image struct {
	ID       json.Number `json:"id"` // a whole number
	FileName string      `json:"file_name"`
	Width    int         `json:"width"`
	Height   int         `json:"height"`
}

// Annotation is an object on an image. A list of them is a file of results.
type Annotation struct {
	ID           int64       `json:"id"`
	ImageID      json.Number `json:"image_id"`
	CategoryID   json.Number `json:"category_id"`
	BBox         [4]float64  `json:"bbox"` // x, y, width, height
	Area         float64     `json:"area"` // of the mask, or else of the box
	IsCrowd      int         `json:"iscrowd"`
	Score        *float64    `json:"score,omitempty"`
	Segmentation *mask.RLE   `json:"segmentation,omitempty"`
}

// Category is what objects are called.
type Category struct {
	ID   json.Number `json:"id"`
	Name string      `json:"name"`
}

// NewAnnotation describes an object, whose box must have an area (see [HasArea]). Its ID is 0.
func NewAnnotation(o task.Found, image, category json.Number) *Annotation {
	w, h := o.Box[2]-o.Box[0], o.Box[3]-o.Box[1]
	a := &Annotation{
		ImageID: image, CategoryID: category,
		BBox: task.RoundBox([4]float64{o.Box[0], o.Box[1], w, h}), Area: task.Round(w * h), Score: o.Confidence,
	}
	if o.Mask != nil && o.Mask.RLE != nil {
		a.Area, a.Segmentation = float64(*o.Mask.Area), o.Mask.RLE
	}
	return a
}

// HasArea reports whether a box has a width and a height, and ends after it begins.
func HasArea(box [4]float64) bool { return box[2] > box[0] && box[3] > box[1] }

// Number returns a number as an id.
func Number(n int) json.Number { return json.Number(strconv.Itoa(n)) }

// Classes number labels: those that were asked for, then others as they come.
type Classes struct {
	Names   []string
	numbers map[string]int
}

// NewClasses returns classes that begin with labels.
func NewClasses(labels []string) Classes {
	c := Classes{numbers: map[string]int{}}
	for _, label := range labels {
		c.Number(label)
	}
	return c
}

// NoLabel is the class of objects without a label.
const NoLabel = "object"

// Number returns the number of a label's class, from 0.
func (c *Classes) Number(label string) int {
	if label == "" {
		label = NoLabel
	}
	n, ok := c.numbers[label]
	if !ok {
		n = len(c.Names)
		c.Names, c.numbers[label] = append(c.Names, label), n
	}
	return n
}

// Categories returns the classes with ids from 1.
func (c *Classes) Categories() []Category {
	all := []Category{}
	for i, name := range c.Names {
		all = append(all, Category{Number(i + 1), name})
	}
	return all
}
