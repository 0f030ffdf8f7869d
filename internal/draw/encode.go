package draw

import (
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"path/filepath"
	"strings"

	"paligemma/internal/mask"
)

// Format is a picture format that is written.
type Format string

// The formats.
const (
	PNG  Format = "png"
	JPEG Format = "jpeg"
)

// jpegQuality keeps thin lines and labels clean.
const jpegQuality = 92

// FormatOf returns the format for a path's extension, in either case: .png, .jpg
// or .jpeg. Others are an error; ask before the work is done.
func FormatOf(path string) (Format, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".png":
		return PNG, nil
	case ".jpg", ".jpeg":
		return JPEG, nil
	case ".webp":
		return "", fmt.Errorf("%s: WebP is read but not written: end the name in .png or .jpg", path)
	}
	return "", fmt.Errorf("%s: a picture's name must end in .png, .jpg or .jpeg", path)
}

// Encode writes img in a format to w, such as a file or, for a picture without a name,
// standard output.
func Encode(w io.Writer, img image.Image, f Format) error {
	var err error
	switch f {
	case PNG:
		err = png.Encode(w, img)
	case JPEG:
		err = jpeg.Encode(w, img, &jpeg.Options{Quality: jpegQuality})
	default:
		err = fmt.Errorf("unknown format")
	}
	if err != nil {
		return fmt.Errorf("encode %s: %w", f, err)
	}
	return nil
}

// EncodeMask writes mask [H][W] as a gray PNG: 255 in the mask, 0 outside. It
// fails if the size is not the mask's.
func EncodeMask(w io.Writer, pixels []byte, W, H int) error {
	if err := mask.Check(len(pixels), W, H); err != nil {
		return fmt.Errorf("encode mask: %w", err)
	}
	img := image.NewGray(image.Rect(0, 0, W, H))
	for i, v := range pixels {
		if v != 0 {
			img.Pix[i] = 0xff
		}
	}
	return Encode(w, img, PNG)
}
