// Command labels draws docs/images/labels.png: boxes with labels in many scripts on
// pictures of several sizes, to see what a drawing looks like. It uses the fonts of the
// system; on Debian those of fonts-noto-core, fonts-noto-cjk and fonts-noto-color-emoji.
//
//	go run ./scripts/pictures/labels docs/images/labels.png
package main

import (
	"fmt"
	"image"
	"image/color/palette"
	"image/draw"
	"image/png"
	"log"
	"math/rand/v2"
	"os"

	xdraw "golang.org/x/image/draw"

	"paligemma/internal/atomicfile"
	pictures "paligemma/internal/draw"
	"paligemma/internal/typeset"
)

// scripts are labels in twelve scripts.
var scripts = []string{
	"cat", "кошка", "猫の耳", "قطة نائمة", "חתול 7", "बिल्ली", "고양이", "😺 🏳️‍🌈",
	"γάτα", "แมวน้อย", "பூனை", "小猫 nose", "kucing", "køtt", "mèo",
}

// panel is a picture on the sheet.
type panel struct {
	w, h   int // of the picture that is drawn on
	at     image.Rectangle
	boxes  int
	labels []string
	hidden bool // the system's fonts
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: labels OUT.png")
	}
	if err := sheet(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// sheet draws all panels and writes them to a file.
func sheet(path string) error {
	photo, err := read("testdata/photos/chelsea.png")
	if err != nil {
		return err
	}
	out := image.NewNRGBA(image.Rect(0, 0, 920, 640))
	draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
	latin := []string{"cat", "left eye", "right eye", "nose", "ear", "whiskers", "fur", "a long label that goes on"}
	for _, p := range []panel{
		{w: 451, h: 300, at: image.Rect(5, 5, 456, 305), boxes: 15, labels: scripts},
		{w: 4000, h: 2660, at: image.Rect(464, 5, 915, 305), boxes: 15, labels: scripts},
		{w: 200, h: 133, at: image.Rect(5, 313, 305, 513), boxes: 15, labels: scripts},
		{w: 451, h: 300, at: image.Rect(313, 313, 764, 613), boxes: 60, labels: latin},
		{w: 200, h: 200, at: image.Rect(772, 313, 912, 453), boxes: 4, labels: scripts[2:6], hidden: true},
		{w: 24, h: 24, at: image.Rect(5, 521, 101, 617), boxes: 1, labels: latin},
		{w: 24, h: 24, at: image.Rect(109, 521, 205, 617), boxes: 3, labels: scripts[2:]},
		{w: 48, h: 48, at: image.Rect(213, 521, 309, 617), boxes: 3, labels: latin},
	} {
		img, err := p.draw(photo)
		if err != nil {
			return err
		}
		xdraw.CatmullRom.Scale(out, p.at, img, img.Rect, xdraw.Src, nil)
	}
	small := image.NewPaletted(out.Rect, palette.Plan9)
	xdraw.FloydSteinberg.Draw(small, out.Rect, out, image.Point{})
	f, err := atomicfile.Create(path, true)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, small); err != nil {
		return err
	}
	return f.Commit()
}

// draw draws a panel's boxes on the photograph in its size.
func (p panel) draw(photo image.Image) (*image.NRGBA, error) {
	img := image.NewNRGBA(image.Rect(0, 0, p.w, p.h))
	xdraw.CatmullRom.Scale(img, img.Rect, photo, photo.Bounds(), xdraw.Src, nil)
	var opt pictures.Options
	if p.hidden {
		fonts, err := typeset.New()
		if err != nil {
			return nil, err
		}
		opt.Fonts = fonts
	}
	legend, err := pictures.Objects(img, p.objects(), opt)
	for _, l := range legend {
		fmt.Fprintf(os.Stderr, "%d: %s\n", l.Number, l.Label)
	}
	return img, err
}

// objects returns boxes of many sizes, the same in every run.
func (p panel) objects() []pictures.Object {
	r := rand.New(rand.NewPCG(7, uint64(p.boxes)))
	objects := make([]pictures.Object, p.boxes)
	for i := range objects {
		w, h := 0.1+0.4*r.Float64()*r.Float64(), 0.1+0.4*r.Float64()*r.Float64()
		x, y := r.Float64()*(1-w), r.Float64()*(1-h)
		objects[i] = pictures.Object{
			Label: p.labels[i%len(p.labels)],
			Box:   [4]float64{x * float64(p.w), y * float64(p.h), (x + w) * float64(p.w), (y + h) * float64(p.h)},
		}
	}
	return objects
}

// read decodes a PNG.
func read(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return png.Decode(f)
}
