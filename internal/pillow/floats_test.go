package pillow

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// TestResizeFloatsGoldens checks that resized floats are Pillow's, bit for bit
// (see testdata/mask/README.md).
func TestResizeFloatsGoldens(t *testing.T) {
	const side = 64
	var cases []struct {
		Logits, Width, Height int
		SHA256                string
	}
	data, err := os.ReadFile("../../testdata/mask/resize.json")
	if err == nil {
		err = json.Unmarshal(data, &cases)
	}
	if err != nil || len(cases) == 0 {
		t.Fatal(err, len(cases))
	}
	logits := make([][side * side]float32, 12)
	if data, err = os.ReadFile("../../testdata/mask/logits.f32"); err == nil {
		err = binary.Read(bytes.NewReader(data), binary.LittleEndian, logits)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%d×%d", c.Width, c.Height), func(t *testing.T) {
			h, rows := sha256.New(), 0
			ResizeFloats(logits[c.Logits][:], side, side, c.Width, c.Height, func(y int, row []float32) {
				if y != rows || len(row) != c.Width {
					t.Errorf("row %d of %d floats, want row %d of %d", y, len(row), rows, c.Width)
				}
				rows++
				if err := binary.Write(h, binary.LittleEndian, row); err != nil {
					t.Fatal(err)
				}
			})
			if got := hex.EncodeToString(h.Sum(nil)); got != c.SHA256 || rows != c.Height {
				t.Errorf("%d rows with sum %s, want %s", rows, got, c.SHA256)
			}
		})
	}
}
