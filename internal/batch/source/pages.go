package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The Parquet library allocates what the headers and runs in a file ask for, however
// little data there is: a damaged byte can cost gigabytes. Footer and pages are
// checked here before it reads them.

const (
	// maxFooter bounds the footer of a Parquet file, in bytes.
	maxFooter = 64 << 20
	// maxPageHeader bounds the header of a page, in bytes: it has the least and the
	// greatest value.
	maxPageHeader = 16 << 20
	// maxPageValues bounds the values of a page.
	maxPageValues = 1 << 24
	// maxPageBytes and maxPageRatio bound a page without compression, in bytes: the
	// first, and the second times its bytes in the file, together.
	maxPageBytes = 128 << 20
	maxPageRatio = 32
	// runSlack is how many values more than a page has its runs may stand for: the
	// last is padded.
	runSlack = 1024
)

var errPage = errors.New("a page is damaged")

// checkFooter finds a footer that cannot be right.
func checkFooter(r io.ReaderAt, size int64) error {
	var end [8]byte
	if size < 12 {
		return errors.New("not a Parquet file: it is too short")
	}
	if _, err := r.ReadAt(end[:], size-8); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(end[:]))
	switch {
	case n > size-12:
		return errors.New("the footer is damaged: it has more bytes than the file")
	case n > maxFooter:
		return fmt.Errorf("the footer has %d bytes: want %d or less", n, maxFooter)
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-8-n); err != nil {
		return err
	}
	if _, err := thriftLen(footer); err != nil {
		return fmt.Errorf("the footer: %w", err)
	}
	return nil
}

// pageChecker checks the pages of a column in a row group, one after the other.
type pageChecker struct {
	file       io.ReaderAt
	at, end    int64
	codec      format.CompressionCodec
	definition int   // the greatest level; 0: no value is missing
	rows       int64 // that follow
	buf, raw   []byte
	inflater   inflater
}

// begin goes to the first page of a column in a row group.
func (c *pageChecker) begin(file io.ReaderAt, size int64, meta *format.ColumnMetaData, definition int, rows int64) error {
	at := meta.DataPageOffset
	if meta.DictionaryPageOffset != 0 {
		at = meta.DictionaryPageOffset
	}
	if at < 4 || at > size || meta.TotalCompressedSize < 0 || meta.TotalCompressedSize > size-at {
		return errors.New("the footer is damaged: a column leaves the file")
	}
	c.file, c.at, c.end = file, at, at+meta.TotalCompressedSize
	c.codec, c.definition, c.rows = meta.Codec, definition, rows
	return nil
}

// next checks what is read for the next page of values, which dictionaries may
// precede. The end of the column is no error.
func (c *pageChecker) next() error {
	for c.at < c.end {
		h, err := c.header()
		if err != nil {
			return err
		}
		size := int64(h.CompressedPageSize)
		if size < 0 || size > c.end-c.at {
			return errPage
		}
		if limit := maxPageBytes + maxPageRatio*size; h.UncompressedPageSize < 0 || int64(h.UncompressedPageSize) > limit {
			return fmt.Errorf("a page has %d bytes without compression: want %d or less", h.UncompressedPageSize, limit)
		}
		c.buf = resized(c.buf, int(size))
		if _, err := c.file.ReadAt(c.buf, c.at); err != nil {
			return err
		}
		c.at += size
		if err := c.page(h); err != nil || h.Type != format.DictionaryPage {
			return err
		}
	}
	return nil
}

// resized returns a slice with n bytes, the one given if it is large enough.
func resized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// header reads the header of the page at c.at, and passes over it.
func (c *pageChecker) header() (*format.PageHeader, error) {
	for size := int64(1 << 10); ; size *= 16 {
		n := min(size, c.end-c.at, maxPageHeader)
		c.buf = resized(c.buf, int(n))
		if _, err := c.file.ReadAt(c.buf, c.at); err != nil {
			return nil, err
		}
		length, err := thriftLen(c.buf)
		if errors.Is(err, errThriftCut) && n == size {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the header of a page: %w", err)
		}
		c.at += int64(length)
		h := new(format.PageHeader)
		return h, thrift.Unmarshal(new(thrift.CompactProtocol), c.buf[:length], h)
	}
}

// page checks the page in c.buf.
func (c *pageChecker) page(h *format.PageHeader) error {
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		return c.dictionary(h)
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		return c.pageV1(h)
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		return c.pageV2(h)
	}
	return errPage
}

// dictionary checks a page of a dictionary: each value has a byte at least.
func (c *pageChecker) dictionary(h *format.PageHeader) error {
	data, err := c.inflate(c.buf, int(h.UncompressedPageSize))
	if err != nil {
		return err
	}
	d := &h.DictionaryPageHeader.V
	if d.NumValues < 0 || int(d.NumValues) > len(data) || d.Encoding != format.Plain && d.Encoding != format.PlainDictionary {
		return errPage
	}
	return nil
}

// count checks the number of values of a page.
func (c *pageChecker) count(n int32) error {
	if n < 0 || n > maxPageValues || int64(n) > c.rows {
		return errPage
	}
	c.rows -= int64(n)
	return nil
}

// pageV1 checks a page whose levels lie before the values, with a length.
func (c *pageChecker) pageV1(h *format.PageHeader) error {
	p := &h.DataPageHeader.V
	if err := c.count(p.NumValues); err != nil {
		return err
	}
	data, err := c.inflate(c.buf, int(h.UncompressedPageSize))
	if err != nil {
		return err
	}
	n := int(p.NumValues)
	if c.definition > 0 {
		levels, rest, err := cutLength(data)
		if err != nil {
			return err
		}
		if err := checkLevels(levels, p.DefinitionLevelEncoding, c.definition, n); err != nil {
			return err
		}
		data = rest
	}
	return checkValues(data, p.Encoding, n)
}

// pageV2 checks a page whose levels lie before the values and are never compressed.
func (c *pageChecker) pageV2(h *format.PageHeader) error {
	p := &h.DataPageHeaderV2.V
	if err := c.count(p.NumValues); err != nil {
		return err
	}
	repetition, definition := int64(p.RepetitionLevelsByteLength), int64(p.DefinitionLevelsByteLength)
	if repetition < 0 || definition < 0 || repetition+definition > int64(len(c.buf)) || p.NumNulls < 0 || p.NumNulls > p.NumValues {
		return errPage
	}
	n := int(p.NumValues)
	if c.definition > 0 {
		if err := checkLevels(c.buf[repetition:repetition+definition], format.RLE, c.definition, n); err != nil {
			return err
		}
	}
	data := c.buf[repetition+definition:]
	if compressed := p.IsCompressed; !compressed.Valid || compressed.V {
		var err error
		// The size is that with the levels, which some writers leave out.
		if data, err = c.inflate(data, int(h.UncompressedPageSize)); err != nil {
			return err
		}
	}
	return checkValues(data, p.Encoding, n-int(p.NumNulls))
}

// inflate returns what data unpacks to, at most a number of bytes. It is valid until the
// next call.
func (c *pageChecker) inflate(data []byte, most int) ([]byte, error) {
	if c.codec == format.Uncompressed {
		return data, nil
	}
	var err error
	c.raw, err = c.inflater.inflate(c.raw[:0], c.codec, data, most)
	return c.raw, err
}

// cutLength cuts data after a length in four bytes.
func cutLength(data []byte) (head, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, errPage
	}
	n := int64(binary.LittleEndian.Uint32(data))
	if data = data[4:]; n > int64(len(data)) {
		return nil, nil, errPage
	}
	return data[:n], data[n:], nil
}
