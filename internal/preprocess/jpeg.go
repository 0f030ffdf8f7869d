package preprocess

import (
	"errors"
	"fmt"

	"paligemma/internal/jpeg"
)

// openJPEG opens a JPEG and checks the size that it claims.
func openJPEG(data []byte, lim Limits) (*jpeg.Decoder, error) {
	d, err := jpeg.Open(data)
	if err != nil {
		return nil, jpegError(err)
	}
	return d, checkSize(d.Width, d.Height, lim, int64(len(data)), d.LeastBytes())
}

// jpegError has errors about features that are not decoded wrap [ErrUnsupported].
func jpegError(err error) error {
	if _, ok := errors.AsType[jpeg.UnsupportedError](err); ok {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}

// jpegOrientation returns the orientation of a JPEG, 1 to 8.
func jpegOrientation(d *jpeg.Decoder) int {
	m := metadata{exif: d.EXIF, xmp: d.XMP}
	return m.orientation()
}

// jpegPixels decodes the picture that d has opened, as it is stored.
func jpegPixels(d *jpeg.Decoder) (*RGB, error) {
	img := newRGB(d.Width, d.Height)
	if err := d.Decode(&rowWriter{img: img}); err != nil {
		return nil, jpegError(err)
	}
	img.Warnings = d.Warnings()
	return img, nil
}

func decodeJPEG(data []byte, lim Limits) (*RGB, error) {
	d, err := openJPEG(data, lim)
	if err != nil {
		return nil, err
	}
	img, err := jpegPixels(d)
	if err != nil {
		return nil, err
	}
	return orient(img, jpegOrientation(d)), nil
}

// rowWriter has a [jpeg.Decoder] write its rows into img.
type rowWriter struct {
	img  *RGB
	done int // bytes of img.Pix
}

// Room implements [jpeg.RowSink].
func (w *rowWriter) Room(n int) []byte {
	return w.img.Pix[w.done:][:3*w.img.W*n]
}

// Flush implements [jpeg.RowSink].
func (w *rowWriter) Flush(rows []byte) {
	w.done += len(rows)
}
