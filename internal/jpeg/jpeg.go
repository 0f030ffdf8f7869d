// Package jpeg decodes JPEG files to the RGB samples that libjpeg-turbo gives with
// its defaults, and Pillow with it, to the bit: its "islow" inverse DCT, its
// "fancy" upsampling, its color conversion, its block smoothing where the scans of a
// progressive file lack bits of the coefficients, and its way with damaged files,
// which warnings report. It reads baseline, extended sequential and progressive
// files of 8 bits a sample, with Huffman or arithmetic coding.
//
// The input is untrusted. Sizes of tables and segments are held against the file;
// the size of the picture is for the caller to check between [Open], which allocates
// nothing of it, and [Decoder.Decode].
package jpeg

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrTruncated is wrapped by errors about files that end before the picture does.
var ErrTruncated = errors.New("the file is cut short")

// UnsupportedError says which feature of a file is not decoded.
type UnsupportedError string

// Error implements error.
func (e UnsupportedError) Error() string { return string(e) }

// unsupported formats an [UnsupportedError].
func unsupported(format string, args ...any) error {
	return UnsupportedError(fmt.Sprintf(format, args...))
}

// Decoder decodes a file from start to end.
type Decoder struct {
	// Width and Height are the size of the picture, at least 1 and at most 65535:
	// whoever calls Decode checks it first.
	Width, Height int
	// EXIF is the contents of the APP1 segments with it, before the first scan and
	// without "Exif\0\0"; XMP is the last packet. nil where there is none.
	EXIF, XMP []byte
	// PlainInks says that the samples of four components are amounts of ink, as
	// TIFF has them. Otherwise they are inverted, as Adobe stores them and Pillow
	// assumes of every file.
	PlainInks bool

	header
	tables
	coding
	data         []byte
	pos          int
	mcusX, mcusY int // of a scan of all components
	comps        []component
	scanCount    int
	lastGood     int // the last row of MCUs that the last scan has data for
	smoothing    bool
	damage       damage
}

// Open reads the segments of a JPEG up to its first scan. It allocates nothing of
// the picture's size.
func Open(data []byte) (*Decoder, error) {
	if !bytes.HasPrefix(data, []byte{0xFF, markerSOI}) {
		return nil, fmt.Errorf("there is no start marker")
	}
	d := &Decoder{data: data, pos: 2}
	d.coding.reset()
	for {
		marker, err := d.next()
		if err != nil {
			return nil, err
		}
		switch {
		case marker == markerSOS && d.components == nil:
			return nil, fmt.Errorf("a scan comes before the frame header")
		case marker == markerSOS:
			d.pos -= 2 // for Decode
			return d, d.layOut()
		case marker == markerEOI:
			if err := d.tablesOnly(); err != nil {
				return nil, err
			}
		default:
			if err := d.segment(marker); err != nil {
				return nil, err
			}
		}
	}
}

// LeastBytes returns the least size of a file that is believed to have a picture
// of this size. A sound file has two bits for each block of 8 × 8 pixels, a
// progressive one has one; of a file that lost its end an eighth of that is enough.
// Pictures up to 16 megapixels may have any size of file, since they cost little.
func (d *Decoder) LeastBytes() int64 {
	if int64(d.Width)*int64(d.Height) <= 16_000_000 {
		return 0
	}
	return (int64(d.Width) + 7) / 8 * ((int64(d.Height) + 7) / 8) / 64
}

// Decode decodes the scans, once, and gives the picture to sink as RGB: luma and
// chroma, inks and gray are converted. A file of one sequential scan needs room
// for some rows of the picture, any other one for its coefficients. A panic, if
// there ever is one, is one of the caller's goroutine.
func (d *Decoder) Decode(sink RowSink) error {
	marker, err := d.next()
	if err != nil || marker != markerSOS {
		return err // never another one
	}
	s, err := d.scanHeader()
	if err != nil {
		return err
	}
	if !d.progressive && len(s.components) == len(d.comps) {
		if err := d.stream(s, sink); err != nil {
			return err
		}
		return d.trailer()
	}
	if err := d.scans(s); err != nil {
		return err
	}
	return d.output(sink)
}

// Warnings returns what Decode mended or ignored in a damaged file, a phrase each.
func (d *Decoder) Warnings() []string {
	return d.damage.warnings()
}

// RowSink takes the rows of a picture from top to bottom.
type RowSink interface {
	// Room returns a buffer for the next n rows, [n][Width][3].
	Room(n int) []byte
	// Flush takes the rows that were put into the buffer.
	Flush(rows []byte)
}
