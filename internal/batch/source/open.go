package source

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"paligemma/internal/atomicfile"
)

// cutCompression returns a name without the extension of a compression, in whatever case.
func cutCompression(name string) string {
	ext := filepath.Ext(name)
	switch strings.ToLower(ext) {
	case ".gz", ".zst":
		return strings.TrimSuffix(name, ext)
	}
	return name
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
	switch strings.ToLower(filepath.Ext(path)) {
	case ".gz", ".tgz":
		z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<16))
		if err != nil {
			f.Close()
			return nil, err
		}
		return &input{z, func() { f.Close() }}, nil
	case ".zst", ".tzst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			f.Close()
			return nil, err
		}
		return &input{z, func() { z.Close(); f.Close() }}, nil
	}
	return &input{f, func() { f.Close() }}, nil
}
