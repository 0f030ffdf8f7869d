package preprocess

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// errTruncated is wrapped by errors about files that end before the picture
// does.
var errTruncated = errors.New("the file is cut short")

// Decode decodes a PNG, JPEG, GIF, WebP, BMP, TIFF or PNM (of several frames or
// pages, the first) into upright RGB: the orientation in EXIF or XMP is applied,
// alpha and palette transparency are composited over white, 16-bit samples give
// their high byte, gray and CMYK become RGB. Color profiles are not applied. The
// content, not a name, says the type.
//
// The samples equal Pillow's, except of 16-bit gray, which Pillow
// clips to white, and of what it misreads: TIFF planes of 16 bits or with gray's
// opacity, odd literal runs in 4-bit BMPs. Decode mends a damaged file as Pillow
// does, and says so in the picture's Warnings.
//
// Errors wrap [ErrUnsupported], [ErrTooLarge] or the decoder's own error.
// Pixels that are missing are an error; bytes after the last one are ignored.
func Decode(data []byte, lim Limits) (img *RGB, err error) {
	lim = lim.withDefaults()
	if err := checkBytes(data, lim); err != nil {
		return nil, err
	}
	kind := Kind(data)
	defer guard(kind, &err)
	switch kind {
	case "PNG":
		img, err = decodePNG(data, lim)
	case "JPEG":
		img, err = decodeJPEG(data, lim)
	case "GIF":
		img, err = decodeGIF(data, lim)
	case "WebP":
		img, err = decodeWebP(data, lim)
	case "BMP":
		img, err = decodeBMP(data, lim)
	case "TIFF":
		img, err = decodeTIFF(data, lim)
	case "PNM":
		img, err = decodePNM(data, lim)
	case "HEIC", "AVIF":
		if decodeHEIF == nil {
			return nil, fmt.Errorf("decode picture: %w: %s", ErrUnsupported, refusal(kind))
		}
		img, err = decodeHEIF(data, kind, lim)
	default:
		return nil, fmt.Errorf("decode picture: %w: %s", ErrUnsupported, refusal(kind))
	}
	if err != nil {
		return nil, decodeError(kind, err)
	}
	return img, nil
}

// checkBytes refuses a file beyond the limit of its size.
func checkBytes(data []byte, lim Limits) error {
	if int64(len(data)) > lim.MaxBytes {
		return fmt.Errorf("decode picture: %w: the file has more than %d bytes (--max-bytes)", ErrTooLarge, lim.MaxBytes)
	}
	return nil
}

// guard, deferred, turns a panic of a decoder, most of which are other people's
// code, into an error.
func guard(kind string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("decode %s: decoder failed: %v", kind, p)
	}
}

// decodeError says what kind of picture an error is about.
func decodeError(kind string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errTruncated, err)
	}
	return fmt.Errorf("decode %s: %w", kind, err)
}

// readKinds are the types that Decode reads, for messages.
const readKinds = "JPEG, PNG, GIF, WebP, BMP, TIFF and PPM are read"

// converters are commands that make a type that Decode reads of one that it does
// not read.
var converters = map[string]string{
	"HEIC":      "`heif-convert in.heic out.jpg`, `magick in.heic out.jpg` or `sips -s format jpeg in.heic --out out.jpg`",
	"AVIF":      "`avifdec in.avif out.png` or `magick in.avif out.png`",
	"JPEG XL":   "`djxl in.jxl out.png`",
	"JPEG 2000": "`opj_decompress -i in.jp2 -o out.png` or `magick in.jp2 out.png`",
	"ICO":       "`magick 'in.ico[0]' out.png`",
	"PSD":       "`magick 'in.psd[0]' out.png`",
	"QOI":       "`magick in.qoi out.png`",
	"OpenEXR":   "`magick in.exr out.png`",
	"PAM":       "`pamtopnm in.pam > out.ppm`",
	"PDF":       "`pdftoppm -png -r 150 in.pdf out`",
	"SVG":       "`rsvg-convert in.svg -o out.png` or `magick in.svg out.png`",
}

// refusal says what a file of a type that is not read is, and what to do.
func refusal(kind string) string {
	switch convert, ok := converters[kind]; {
	case kind == kindLFS:
		return "this is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder"
	case kind == kindPage:
		return "this is a web page, not the file itself: download it again"
	case ok:
		return fmt.Sprintf("this is %s; convert it first: %s", kind, convert)
	case kind == "":
		return "the type is not recognized (" + readKinds + ")"
	}
	return fmt.Sprintf("this is %s (%s)", kind, readKinds)
}

// Kinds that stand in place of a picture.
const (
	kindLFS  = "Git LFS pointer"
	kindPage = "web page"
)

// magics are the openings of files by type. Those that Decode refuses are here
// so that its message can say what the file is.
var magics = []struct{ magic, kind string }{
	{"\x89PNG\r\n\x1a\n", "PNG"},
	{"\xff\xd8\xff", "JPEG"},
	{"GIF87a", "GIF"},
	{"GIF89a", "GIF"},
	{"BM", "BMP"},
	{"II*\x00", "TIFF"},
	{"MM\x00*", "TIFF"},
	{"II\x00*", "TIFF"}, // wrong, but Pillow reads them
	{"MM*\x00", "TIFF"},
	{"II+\x00", "TIFF"}, // BigTIFF
	{"MM\x00+", "TIFF"},
	{"\x00\x00\x01\x00", "ICO"},
	{"8BPS", "PSD"},
	{"qoif", "QOI"},
	{"\xff\x0a", "JPEG XL"},
	{"\x00\x00\x00\x0cJXL ", "JPEG XL"},
	{"\x00\x00\x00\x0cjP  ", "JPEG 2000"},
	{"\xff\x4f\xff\x51", "JPEG 2000"},
	{"\x76\x2f\x31\x01", "OpenEXR"},
	{"%PDF", "PDF"},
	{"<svg", "SVG"},
	{"<?xml", "XML or SVG"},
	{"P1", "PNM"}, {"P2", "PNM"}, {"P3", "PNM"}, {"P4", "PNM"}, {"P5", "PNM"}, {"P6", "PNM"},
	{"P7\n", "PAM"},
	{"GGUF", "GGUF"},
	{"PK\x03\x04", "ZIP"},
	{"\x1f\x8b", "gzip"},
	{"version https://git-lfs", kindLFS},
	{"<!DOCTYPE", kindPage}, {"<!doctype", kindPage}, {"<html", kindPage},
}

// Kind returns the type of a file by its first bytes, "" where it is unknown. It may
// be one that is not read, or not a picture.
func Kind(start []byte) string {
	if len(start) == 0 {
		return "an empty file"
	}
	if len(start) >= 12 && string(start[:4]) == "RIFF" {
		if string(start[8:12]) == "WEBP" {
			return "WebP"
		}
		return "RIFF"
	}
	if len(start) >= 12 && string(start[4:8]) == "ftyp" {
		switch string(start[8:12]) {
		case "avif", "avis":
			return "AVIF"
		case "heic", "heix", "heim", "heis", "hevc", "mif1", "msf1":
			return "HEIC"
		}
		return "MP4"
	}
	for _, m := range magics {
		if bytes.HasPrefix(start, []byte(m.magic)) {
			return m.kind
		}
	}
	return ""
}

// checkSize refuses the sizes that a header claims before anything of that size
// is allocated. minBytes is the least that a file with such a header can have.
func checkSize(w, h int, lim Limits, fileBytes, minBytes int64) error {
	if w <= 0 || h <= 0 {
		return fmt.Errorf("the picture is empty: %d×%d pixels", w, h)
	}
	if int64(w) > lim.MaxPixels/int64(h) {
		return fmt.Errorf("%w: %d×%d pixels are %s, the limit is %s (--max-pixels)", ErrTooLarge, w, h, millions(float64(w)*float64(h)), millions(float64(lim.MaxPixels)))
	}
	if fileBytes < minBytes {
		return fmt.Errorf("%w: %d bytes for %d×%d pixels", errTruncated, fileBytes, w, h)
	}
	return nil
}

// millions formats a number of pixels for humans.
func millions(n float64) string {
	if n < 1e6 {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	return strconv.FormatFloat(n/1e6, 'f', 1, 64) + " million"
}

// maxEmpty is how many pixels a picture may have outside of its first frame
// whatever the size of the file.
const maxEmpty = 1 << 20

// checkCanvas refuses a canvas whose first frame covers only a part of it where
// fileBytes cannot be the size of a file with such a canvas: a header of a few
// bytes must not cost hundreds of megabytes.
func checkCanvas(w, h, fileBytes int) error {
	if n := int64(w) * int64(h); n > maxEmpty && n/maxLZW > int64(fileBytes) {
		return fmt.Errorf("%w: %d bytes for a canvas of %d×%d pixels", errTruncated, fileBytes, w, h)
	}
	return nil
}
