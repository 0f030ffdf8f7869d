package source

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// inflater unpacks the pages of Parquet files, never more of them than there should be.
type inflater struct {
	zstd *zstd.Decoder
	in   bytes.Reader
}

// inflate appends what data unpacks to, up to a number of bytes.
func (f *inflater) inflate(dst []byte, codec format.CompressionCodec, data []byte, most int) ([]byte, error) {
	switch codec {
	case format.Snappy:
		n, err := snappy.DecodedLen(data)
		if err != nil || n > most || n > 64*len(data) { // it is 21 times smaller at best
			return dst, errPage
		}
		return snappy.Decode(dst[:cap(dst)], data)
	case format.Gzip:
		f.in.Reset(data)
		z, err := gzip.NewReader(&f.in)
		if err != nil {
			return dst, err
		}
		return readMost(dst, z, most)
	case format.Zstd:
		if err := checkWindow(data, most); err != nil {
			return dst, err
		}
		if f.zstd == nil {
			var err error
			if f.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true)); err != nil {
				return dst, err
			}
		}
		f.in.Reset(data)
		if err := f.zstd.Reset(&f.in); err != nil {
			return dst, err
		}
		return readMost(dst, f.zstd, most)
	}
	return dst, fmt.Errorf("pages compressed with %s cannot be read: want snappy, gzip or zstd", codec)
}

// usualWindow is the window of Zstandard at its usual levels, in bytes.
const usualWindow = 8 << 20

// checkWindow finds a window that is much larger than the data.
func checkWindow(data []byte, most int) error {
	var h zstd.Header
	if err := h.Decode(data); err != nil {
		return err
	}
	if h.WindowSize > uint64(max(usualWindow, 2*most)) || h.HasFCS && h.FrameContentSize > uint64(most) {
		return errPage
	}
	return nil
}

// readMost appends what a reader has, up to a number of bytes.
func readMost(dst []byte, r io.Reader, most int) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	n, err := b.ReadFrom(io.LimitReader(r, int64(most)+1))
	if err == nil && n > int64(most) {
		err = errPage
	}
	return b.Bytes(), err
}

// close ends what the inflater uses.
func (f *inflater) close() {
	if f.zstd != nil {
		f.zstd.Close()
		f.zstd = nil
	}
}
