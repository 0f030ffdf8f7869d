package coco

import (
	"slices"
	"testing"
)

func TestClasses(t *testing.T) {
	c := NewClasses([]string{"cat", "dog", "cat"})
	for _, s := range []struct {
		label string
		want  int
	}{{"dog", 1}, {"cat", 0}, {"bird", 2}, {"", 3}, {"bird", 2}, {NoLabel, 3}} {
		t.Run(s.label, func(t *testing.T) {
			if got := c.Number(s.label); got != s.want {
				t.Errorf("%d, want %d", got, s.want)
			}
		})
	}
	if want := []string{"cat", "dog", "bird", NoLabel}; !slices.Equal(c.Names, want) {
		t.Errorf("%q, want %q", c.Names, want)
	}
}
