package pillow

import "testing"

// TestUnderInk checks that the rounding of the division by 255 is Pillow's: to the
// nearest, of which 255·x/255 is x.
func TestUnderInk(t *testing.T) {
	for ink := range 256 {
		for light := range 256 {
			want := light - (2*ink*light+255)/(2*255)
			if got := int(UnderInk(byte(ink), byte(light))); got != want {
				t.Fatalf("ink %d, light %d: %d, want %d", ink, light, got, want)
			}
		}
	}
}
