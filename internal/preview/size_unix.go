//go:build unix

package preview

import (
	"os"

	"golang.org/x/sys/unix"
)

// sizeOf returns the size of a terminal, zero if it is not known.
func sizeOf(f *os.File) Size {
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return Size{}
	}
	return Size{Columns: int(ws.Col), Rows: int(ws.Row), Width: int(ws.Xpixel), Height: int(ws.Ypixel)}
}
