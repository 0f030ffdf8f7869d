//go:build !cgo || notokenizers

package tokenizer

import (
	"errors"
	"testing"
)

// Without the library, a tokenizer that only the library can encode opens with one clear
// error, and decodes all the same.
func TestNoLibrary(t *testing.T) {
	tok := openSource(t, source(t), false)
	if err := tok.Ready(); !errors.Is(err, errNoLibrary) {
		t.Errorf("%v", err)
	}
	if ids, err := tok.Encode("x"); !errors.Is(err, errNoLibrary) {
		t.Errorf("%v, %v", ids, err)
	}
	if got := tok.Decode([]int{419}); got != " cat" {
		t.Errorf("token 419 is %q", got)
	}
	if err := source(t).Verify(); !errors.Is(err, errNoLibrary) {
		t.Errorf("Verify: %v", err)
	}
}
