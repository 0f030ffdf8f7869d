package engine

import (
	"testing"

	"paligemma/internal/model"
)

// TestPrefixesKept has prefixes share an image, which counts as long as one of them is there.
// That which was asked for the longest ago goes first.
func TestPrefixesKept(t *testing.T) {
	p := newPrefixes(40, 10)
	one, other := &Image{}, &Image{}
	keep := func(key string, images ...*Image) {
		p.keep(&prefix{key: key, images: images, bytes: 5, seq: &model.Sequence{}})
	}
	check := func(when string, bytes int64, keys string) {
		t.Helper()
		got := ""
		for element := p.recent.Front(); element != nil; element = element.Next() {
			got += element.Value.(*prefix).key
		}
		if got != keys || p.bytes != bytes || len(p.kept) != len(keys) {
			t.Errorf("%s: %q and %d bytes, want %q and %d", when, got, p.bytes, keys, bytes)
		}
	}
	keep("a", one)
	keep("b", one)
	keep("c", one, other)
	check("three", 35, "cba")
	if p.find("a") == nil || p.find("d") != nil {
		t.Error("a is not found, or d is")
	}
	check("found", 35, "acb")
	keep("d")
	check("a fourth", 40, "dacb")
	keep("e")
	check("one too many", 40, "edac")
	keep("f", &Image{}) // c goes, and of its images that which a does not have
	check("another image", 40, "feda")
	if !p.dropAll() || p.dropAll() {
		t.Error("not all are dropped at once")
	}
	if check("dropped", 0, ""); len(p.images) > 0 {
		t.Errorf("%d images are held", len(p.images))
	}
}
