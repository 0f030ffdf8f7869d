//go:build !unix

package preview

import (
	"os"

	"golang.org/x/term"
)

// sizeOf returns the size of a terminal, zero if it is not known.
func sizeOf(f *os.File) Size {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return Size{}
	}
	return Size{Columns: w, Rows: h}
}
