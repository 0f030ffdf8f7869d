package preprocess

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"testing"
)

// filtered applies a PNG filter to a row of RGB below another one.
func filtered(filter byte, row, above []byte) []byte {
	out := []byte{filter}
	for i, v := range row {
		var left, corner byte
		up := above[i]
		if i >= 3 {
			left, corner = row[i-3], above[i-3]
		}
		out = append(out, v-[]byte{0, left, up, byte((int(left) + int(up)) / 2), paeth(int(left), int(up), int(corner))}[filter])
	}
	return out
}

// TestPNGInterlacedFilters checks rows of interlaced pictures, also the first of a
// pass, which has zeros above it whatever the pass before ended with.
func TestPNGInterlacedFilters(t *testing.T) {
	const w, h = 19, 21
	img := &RGB{W: w, H: h, Pix: make([]byte, 3*w*h)}
	for i := range img.Pix {
		img.Pix[i] = byte(i * i >> 2 * 29)
	}
	for filter := range byte(5) {
		t.Run(fmt.Sprint("filter ", filter), func(t *testing.T) {
			var data bytes.Buffer
			z := zlib.NewWriter(&data)
			for _, p := range adam7 {
				above := make([]byte, 3*w)
				for y := p.y; y < h; y += p.dy {
					var row []byte
					for x := p.x; x < w; x += p.dx {
						row = append(row, img.Pix[3*(y*w+x):][:3]...)
					}
					_, _ = z.Write(filtered(filter, row, above))
					above = row
				}
			}
			_ = z.Close()
			header := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
			header = append(binary.BigEndian.AppendUint32(header, h), 8, 2, 0, 0, 1)
			file := pngOf([]byte("\x89PNG\r\n\x1a\n"), string(header), "IDAT"+data.String(), "IEND")
			got, err := Decode(file, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if most, _, err := difference(got, img); err != nil || most > 0 {
				t.Errorf("another picture: %v, largest difference %d", err, most)
			}
		})
	}
}
