package source

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"paligemma/internal/atomicfile"
)

// cutCompression returns a name without the extension of a compression, and that.
func cutCompression(name string) (base, ext string) {
	for _, ext := range []string{".gz", ".zst"} {
		if base, ok := strings.CutSuffix(name, ext); ok {
			return base, ext
		}
	}
	return name, ""
}

// maxWindow bounds what a decoder of Zstandard holds, in bytes.
const maxWindow = 128 << 20

// input is an open file of records. Seeker is nil where it is compressed or a pipe.
type input struct {
	io.Reader
	close func()
}

// open opens a file of records, unpacked as its name says, or standard input.
func (o *Options) open(path string) (*input, error) {
	if path == Stdin {
		return &input{Reader: o.Stdin, close: func() {}}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, atomicfile.Cause(err)
	}
	_, ext := cutCompression(path)
	switch {
	case ext == ".gz", strings.HasSuffix(path, ".tgz"):
		z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<16))
		if err != nil {
			f.Close()
			return nil, err
		}
		return &input{z, func() { f.Close() }}, nil
	case ext == ".zst", strings.HasSuffix(path, ".tzst"):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			f.Close()
			return nil, err
		}
		return &input{z, func() { z.Close(); f.Close() }}, nil
	}
	return &input{f, func() { f.Close() }}, nil
}
