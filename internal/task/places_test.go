package task

import "testing"

func TestParseBox(t *testing.T) {
	for _, c := range []struct {
		text string
		want [4]float64
		ok   bool
	}{
		{"0,1,2.5,3e1", [4]float64{0, 1, 2.5, 30}, true},
		{" 0, 1 ,2,3 ", [4]float64{0, 1, 2, 3}, true},
		{"", [4]float64{}, false},
		{"0,1,2", [4]float64{}, false},
		{"0,1,2,3,4", [4]float64{}, false},
		{"0,1,2,x", [4]float64{}, false},
		{"0,1,2,NaN", [4]float64{}, false},
		{"0,1,2,Inf", [4]float64{}, false},
		{"-1,1,2,3", [4]float64{}, false},
		{"2,1,2,3", [4]float64{}, false},
		{"0,3,2,3", [4]float64{}, false},
	} {
		t.Run(c.text, func(t *testing.T) {
			if got, err := ParseBox(c.text); (err == nil) != c.ok || c.ok && got != c.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		text string
		w, h int
		ok   bool
	}{
		{"640x480", 640, 480, true},
		{"640X480", 640, 480, true},
		{"1073741824x1", 1 << 30, 1, true},
		{"1073741825x1", 0, 0, false},
		{"640", 0, 0, false},
		{"0x1", 0, 0, false},
		{"-1x1", 0, 0, false},
		{"axb", 0, 0, false},
		{"1x2x3", 0, 0, false},
		{"99999999999999999999x1", 0, 0, false},
	} {
		t.Run(c.text, func(t *testing.T) {
			if w, h, err := ParseSize(c.text); (err == nil) != c.ok || w != c.w || h != c.h {
				t.Errorf("%d×%d, %v", w, h, err)
			}
		})
	}
}
