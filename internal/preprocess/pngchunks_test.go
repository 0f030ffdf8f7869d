package preprocess

import (
	"encoding/binary"
	"testing"
)

// TestPNGFrame: a first frame that leaves the picture is passed over.
func TestPNGFrame(t *testing.T) {
	for _, c := range []struct {
		name       string
		w, h, x, y uint32
		ok         bool
	}{
		{"all", 10, 8, 0, 0, true},
		{"a corner", 3, 2, 7, 6, true},
		{"too far right", 3, 2, 8, 6, false},
		{"too far down", 3, 2, 7, 7, false},
		{"beyond 32 bits", 3, 2, 1<<32 - 1, 1<<32 - 1, false},
		{"empty", 0, 2, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := make([]byte, 26)
			for i, v := range []uint32{c.w, c.h, c.x, c.y} {
				binary.BigEndian.PutUint32(body[4+4*i:], v)
			}
			p := &pngFile{w: 10, h: 8}
			p.frame(body)
			if ok := p.fw == int(c.w) && p.fh == int(c.h) && p.fw > 0; ok != c.ok || ok != (len(p.warnings) == 0) {
				t.Errorf("a frame of %d×%d, warnings %q", p.fw, p.fh, p.warnings)
			}
		})
	}
}
