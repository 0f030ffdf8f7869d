package preprocess

// maxDeflate is the most bytes that one byte of deflate can stand for.
const maxDeflate = 1032

// Color types of IHDR.
const (
	pngGray      = 0
	pngRGB       = 2
	pngPalette   = 3
	pngGrayAlpha = 4
	pngRGBA      = 6
)

// pngChannels gives samples per pixel by color type.
var pngChannels = map[byte]int{pngGray: 1, pngRGB: 3, pngPalette: 1, pngGrayAlpha: 2, pngRGBA: 4}

// pngDepths gives the bits that a sample may have by color type.
var pngDepths = map[byte][]byte{
	pngGray: {1, 2, 4, 8, 16}, pngRGB: {8, 16}, pngPalette: {1, 2, 4, 8}, pngGrayAlpha: {8, 16}, pngRGBA: {8, 16},
}

// pngFile is a PNG file taken apart into its chunks. It reads what libpng and
// Pillow read: chunks that are misplaced, unknown or broken but not needed are
// passed over.
type pngFile struct {
	w, h         int
	depth, color byte
	interlaced   bool
	x, y, fw, fh int // of the data in the picture: an APNG's first frame may be smaller
	palette      []byte
	transparency []byte // tRNS as it is stored
	animated     bool
	data         [][]byte // of the IDAT chunks
	meta         metadata
	warnings     []string
}

func decodePNG(data []byte, lim Limits) (*RGB, error) {
	p := &pngFile{}
	if err := p.parse(data, lim); err != nil {
		return nil, err
	}
	img := newRGB(p.w, p.h)
	d := newPNGDecoder(p)
	short, err := d.decode(img)
	if err != nil {
		return nil, err
	}
	if short {
		p.warn("the image data ends early: the lines that are missing are empty")
	}
	img.Warnings = p.warnings
	return orient(img, p.meta.orientation()), nil
}

func (p *pngFile) warn(text string) { p.warnings = append(p.warnings, text) }

func (p *pngFile) bitsPerPixel() int { return int(p.depth) * pngChannels[p.color] }
