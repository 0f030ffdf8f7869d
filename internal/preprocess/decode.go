package preprocess

import (
	"errors"
	"io"
)

// Decode decodes a PNG, JPEG, GIF (first frame) or WebP (of an animation, the
// first frame) into upright RGB: EXIF orientation is applied, alpha and palette
// transparency are composited over white, 16-bit samples give their high byte,
// grey and CMYK become RGB. The type is told by content, never by a name.
//
// Errors wrap [ErrUnsupported], [ErrTooLarge] or the decoder's own error. A
// file cut short is an error; bytes after a complete picture are ignored.
func Decode(data []byte, lim Limits) (*RGB, error) {
	return nil, errors.New("not implemented")
}

// Read reads r to its end, or to one byte beyond lim.MaxBytes, and decodes what
// it read as [Decode] does.
func Read(r io.Reader, lim Limits) (*RGB, error) {
	return nil, errors.New("not implemented")
}
