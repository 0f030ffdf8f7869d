// Package preview shows pictures in terminals that can: by kitty's graphics protocol,
// as iTerm2's inline images, or as sixels.
package preview

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/term"
)

const (
	maxPixels  = 1 << 20 // of what is sent
	freeRows   = 2       // for the command and the prompt after it
	cellWidth  = 8       // pixels, where the terminal does not say
	cellHeight = 16
	chunk      = 4096 // bytes of base64 in one command of kitty's
)

// Size is the size of a terminal. Pixels are 0 where it does not say.
type Size struct {
	Columns, Rows int
	Width, Height int // pixels
}

// Terminal is a terminal that shows pictures.
type Terminal struct {
	out      *os.File
	protocol Protocol
}

// Open returns the terminal that out is. It reports false if out is not a terminal, or
// one that shows no pictures as far as the environment says.
func Open(out *os.File) (*Terminal, bool) {
	if !term.IsTerminal(int(out.Fd())) {
		return nil, false
	}
	p := Detect(os.Getenv)
	return &Terminal{out: out, protocol: p}, p != None
}

// Show shows a picture below the cursor, no larger than it is and than the window,
// and leaves the cursor on the line after it.
func (t *Terminal) Show(img image.Image) error {
	return Write(t.out, img, t.protocol, sizeOf(t.out))
}

// Write writes the bytes that show a picture in a terminal of a size.
func Write(w io.Writer, img image.Image, p Protocol, size Size) error {
	if img.Bounds().Empty() {
		return fmt.Errorf("preview: the picture has no pixels")
	}
	size = size.known()
	small := scale(img, size)
	var b bytes.Buffer
	var err error
	switch p {
	case Kitty:
		err = kitty(&b, small)
	case ITerm2:
		err = iterm2(&b, small, size)
	case Sixel:
		sixel(&b, small)
	default:
		err = fmt.Errorf("the terminal shows no pictures")
	}
	if err != nil {
		return fmt.Errorf("preview: %w", err)
	}
	b.WriteByte('\n')
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("preview: %w", err)
	}
	return nil
}

// known fills in what a terminal does not say, and bounds the rest.
func (s Size) known() Size {
	if s.Columns <= 0 || s.Rows <= 0 {
		s = Size{Columns: 80, Rows: 24}
	}
	s.Columns, s.Rows = min(s.Columns, 1000), min(s.Rows, 1000)
	if cell := s.cell(); cell.X < 2 || cell.Y < 2 || cell.X > 200 || cell.Y > 200 {
		s.Width, s.Height = s.Columns*cellWidth, s.Rows*cellHeight
	}
	return s
}

// cell returns the size of a character in pixels.
func (s Size) cell() image.Point { return image.Pt(s.Width/s.Columns, s.Height/s.Rows) }

// scale makes a picture small enough for a terminal, in its aspect ratio.
func scale(img image.Image, size Size) image.Image {
	b := img.Bounds()
	w, h := float64(b.Dx()), float64(b.Dy())
	room := max(size.Rows-freeRows, 1) * size.cell().Y
	factor := min(1, float64(size.Columns*size.cell().X)/w, float64(room)/h)
	if pixels := w * h * factor * factor; pixels > maxPixels {
		factor *= math.Sqrt(maxPixels / pixels)
	}
	if factor == 1 {
		return img
	}
	small := image.NewNRGBA(image.Rect(0, 0, max(int(w*factor), 1), max(int(h*factor), 1)))
	xdraw.CatmullRom.Scale(small, small.Rect, img, b, xdraw.Src, nil)
	return small
}

// encoded returns a picture as PNG in base64.
func encoded(img image.Image) (string, int, error) {
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(&b, img); err != nil {
		return "", 0, err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), b.Len(), nil
}

// kitty writes commands that transmit a PNG and display it at the cursor (a=T, f=100),
// in chunks (m=1: more follow), and ask for no answers (q=2), which would be typed into
// the shell.
func kitty(b *bytes.Buffer, img image.Image) error {
	data, _, err := encoded(img)
	if err != nil {
		return err
	}
	control := "a=T,f=100,q=2,"
	for len(data) > 0 {
		part, more := data[:min(chunk, len(data))], 0
		if data = data[len(part):]; len(data) > 0 {
			more = 1
		}
		fmt.Fprintf(b, "\x1b_G%sm=%d;%s\x1b\\", control, more, part)
		control = "q=2,"
	}
	return nil
}

// iterm2 writes an inline image. Its size is in cells, since pixels mean different
// things in different terminals.
func iterm2(b *bytes.Buffer, img image.Image, size Size) error {
	data, n, err := encoded(img)
	if err != nil {
		return err
	}
	cell := size.cell()
	columns := (img.Bounds().Dx() + cell.X - 1) / cell.X
	rows := (img.Bounds().Dy() + cell.Y - 1) / cell.Y
	fmt.Fprintf(b, "\x1b]1337;File=inline=1;size=%d;width=%d;height=%d;preserveAspectRatio=1:%s\a", n, columns, rows, data)
	return nil
}
