package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// damageable is a row whose columns are encoded in each way.
type damageable struct {
	Image  []byte  `parquet:"image,plain"`
	ID     int64   `parquet:"id,delta"`
	Prompt *string `parquet:"prompt,optional,dict"`
}

// damageableRows has pages whose sizes are numbers of several bytes, which one bit makes
// larger by far.
func damageableRows(image int) []damageable {
	a, b := "a", strings.Repeat("b", 100)
	return []damageable{{bytes.Repeat([]byte("x"), image), 5, &a}, {[]byte("yy"), 6, &b}, {[]byte("z"), 7, nil}}
}

// TestParquetCut: wherever a file is cut, one record says so.
func TestParquetCut(t *testing.T) {
	data, dir := parquetOf(t, damageableRows(1), parquet.Compression(&parquet.Snappy)), t.TempDir()
	for cut := range data {
		got := read(t, Options{Args: []string{write(t, dir, "t.parquet", data[:cut])}})
		if len(got) != 1 || got[0].Err == nil {
			t.Fatalf("cut at %d: %q", cut, shown(got))
		}
	}
}

// allocatable bounds what reading a damaged file of a kilobyte may allocate, in bytes:
// decoders and their windows, where the library alone takes gigabytes.
const allocatable = 48 << 20

// TestParquetDamaged: whatever bit is another is a record with an error, or other
// bytes, but never a panic, an endless loop or much memory.
func TestParquetDamaged(t *testing.T) {
	for name, options := range map[string][]parquet.WriterOption{
		"none": {},
		"v1":   {parquet.DataPageVersion(1), parquet.Compression(&parquet.Snappy)},
	} {
		t.Run(name, func(t *testing.T) {
			image := 1
			if len(options) > 0 { // compressed
				image = 9000
			}
			data := parquetOf(t, damageableRows(image), options...)
			file, err := os.OpenFile(write(t, t.TempDir(), "t.parquet", data), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			for at := range len(data) {
				if amidX(data, at) {
					continue
				}
				for _, bit := range []byte{0x80, 0x10} { // a number goes on, a field is another
					checkDamaged(t, file, at, data[at]^bit)
				}
				put(t, file, at, data[at])
			}
		})
	}
}

// amidX reports whether a byte is one of many equal ones of an image, to which what
// happens to the others happens.
func amidX(data string, at int) bool {
	const around = "xxxxxxxx"
	return strings.HasPrefix(data[at:], around) && strings.HasSuffix(data[:at], around)
}

func put(t *testing.T, file *os.File, at int, b byte) {
	t.Helper()
	if _, err := file.WriteAt([]byte{b}, int64(at)); err != nil {
		t.Fatal(err)
	}
}

// checkDamaged reads a file of which a byte is b.
func checkDamaged(t *testing.T, file *os.File, at int, b byte) {
	put(t, file, at, b)
	before := allocated()
	got := read(t, Options{Args: []string{file.Name()}})
	after := allocated()
	if len(got) > 1000 {
		t.Errorf("byte %d is %#x: %d records", at, b, len(got))
	}
	if n := after - before; n > allocatable {
		t.Errorf("byte %d is %#x: %d MiB were allocated: %q", at, b, n>>20, shown(got))
	}
}

// TestParquetFooter: a footer that asks for more than there is is found before it is
// followed.
func TestParquetFooter(t *testing.T) {
	for name, footer := range map[string]string{
		"many row groups":   "\x49\xfc\xff\xff\xff\xff\x07",
		"many more, zeros":  "\x49\xfc\x81\x80\x10" + strings.Repeat("\x00", maxThriftElements+2),
		"long name of file": "\x68\xff\xff\xff\xff\x07a",
	} {
		t.Run(name, func(t *testing.T) {
			end := binary.LittleEndian.AppendUint32(nil, uint32(len(footer)))
			path := write(t, t.TempDir(), "t.parquet", "PAR1"+footer+string(end)+"PAR1")
			before := allocated()
			got := read(t, Options{Args: []string{path}})
			if n := allocated() - before; len(got) != 1 || got[0].Err == nil || n > 2<<20 {
				t.Errorf("%d bytes were allocated: %q", n, shown(got))
			}
		})
	}
}

// allocated returns how many bytes were allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestThriftLen(t *testing.T) {
	deep := bytes.Repeat([]byte{0x1c}, maxThriftDepth+2)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty struct":    {[]byte{0}, nil},
		"numbers":         {[]byte{0x15, 2, 0x16, 4, 0x11, 0x12, 0x13, 9, 0x14, 1, 0x17, 1, 2, 3, 4, 5, 6, 7, 8, 0}, nil},
		"field with id":   {[]byte{0x05, 0x20, 2, 0}, nil},
		"binary":          {[]byte{0x18, 3, 'a', 'b', 'c', 0}, nil},
		"list":            {[]byte{0x19, 0x25, 1, 2, 0}, nil},
		"long list":       {append(append([]byte{0x19, 0xf3, 20}, make([]byte, 20)...), 0), nil},
		"map":             {[]byte{0x1b, 1, 0x85, 1, 'k', 7, 0}, nil},
		"struct":          {[]byte{0x1c, 0x15, 2, 0, 0}, nil},
		"nothing":         {nil, errThriftCut},
		"no end":          {[]byte{0x15, 2}, errThriftCut},
		"binary too long": {[]byte{0x18, 0xff, 0xff, 0xff, 0xff, 0x07, 'a', 0}, errThriftCut},
		"list too long":   {[]byte{0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0}, errThriftCut},
		"map too long":    {[]byte{0x1b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x85, 0}, errThriftCut},
		"many elements":   {append([]byte{0x19, 0xfc, 0x81, 0x80, 0x10}, make([]byte, maxThriftElements+2)...), errThriftMany},
		"deep":            {deep, errThriftDamaged},
		"deep list":       {append([]byte{0x19}, bytes.Repeat([]byte{0x19}, maxThriftDepth+2)...), errThriftDamaged},
		"unknown type":    {[]byte{0x1d, 0}, errThriftDamaged},
		"endless number":  {append([]byte{0x15}, bytes.Repeat([]byte{0xff}, 12)...), errThriftDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := thriftLen(c.data)
			if !errors.Is(err, c.want) || err == nil && n != len(c.data) {
				t.Errorf("%d of %d bytes, %v, want %v", n, len(c.data), err, c.want)
			}
		})
	}
}

// TestCheckValues: what stands for more values than there are is found before it is
// decoded.
func TestCheckValues(t *testing.T) {
	varint := func(numbers ...uint64) (data []byte) {
		for _, n := range numbers {
			data = binary.AppendUvarint(data, n)
		}
		return data
	}
	many := varint(1 << 31)
	for name, c := range map[string]struct {
		encoding format.Encoding
		data     []byte
		good     bool
	}{
		"plain":                 {format.Plain, []byte("abc"), true},
		"run":                   {format.RLEDictionary, []byte{1, 2 * 10, 1}, true},
		"groups":                {format.RLEDictionary, []byte{1, 2*2 | 1, 0, 0}, true},
		"groups, padded":        {format.RLEDictionary, []byte{1, 2*2 | 1, 0, 0, 2, 0}, true},
		"long run":              {format.RLEDictionary, append(append([]byte{1}, many...), 1), false},
		"many runs":             {format.RLEDictionary, append([]byte{0}, bytes.Repeat([]byte{0x7e}, 100)...), false},
		"many groups of 0 bits": {format.RLEDictionary, append([]byte{0}, varint(1<<31|1)...), false},
		"groups cut":            {format.RLEDictionary, []byte{1, 2*2 | 1, 0}, false},
		"33 bits":               {format.RLEDictionary, []byte{33, 2, 0, 0, 0, 0, 0}, false},
		"flags":                 {format.RLE, []byte{2, 0, 0, 0, 20, 1}, true},
		"many flags":            {format.RLE, append(append([]byte{6, 0, 0, 0}, many...), 1), false},
		"delta":                 {format.DeltaBinaryPacked, append(varint(128, 4, 10, 0, 0), 0, 0, 0, 0), true},
		"many deltas":           {format.DeltaBinaryPacked, append(varint(128, 4, 1<<31, 0, 0), 0, 0, 0, 0), false},
		"many lengths":          {format.DeltaLengthByteArray, varint(128, 4, 1<<31, 0), false},
		"many suffixes":         {format.DeltaByteArray, append(varint(128, 4, 1, 0), varint(128, 4, 1<<31, 0)...), false},
		"no parts":              {format.DeltaBinaryPacked, varint(128, 0, 10, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkValues(c.data, c.encoding, 10); (err == nil) != c.good {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestInflate: a page that unpacks to more than it should is not unpacked further.
func TestInflate(t *testing.T) {
	bomb := bytes.Repeat([]byte{0}, 1<<20)
	for _, codec := range []format.CompressionCodec{format.Snappy, format.Gzip, format.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			packed, err := parquet.LookupCompressionCodec(codec).Encode(nil, bomb)
			if err != nil {
				t.Fatal(err)
			}
			var f inflater
			defer f.close()
			if got, err := f.inflate(nil, codec, packed, len(bomb)); err != nil || !bytes.Equal(got, bomb) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if got, err := f.inflate(nil, codec, packed, 1000); err == nil || cap(got) > 1<<17 {
				t.Errorf("%d bytes, %v", cap(got), err)
			}
		})
	}
}

// TestPageChecker: a header that asks for more than there is is found before it is
// followed.
func TestPageChecker(t *testing.T) {
	const huge = 1<<31 - 1
	v1 := func(size, unpacked, values int32) format.PageHeader {
		return format.PageHeader{
			Type: format.DataPage, CompressedPageSize: size, UncompressedPageSize: unpacked,
			DataPageHeader: thrift.New(format.DataPageHeader{NumValues: values}),
		}
	}
	dictionary := func(values int32) format.PageHeader {
		return format.PageHeader{
			Type: format.DictionaryPage, CompressedPageSize: 10, UncompressedPageSize: 10,
			DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{NumValues: values}),
		}
	}
	v2 := func(values, nulls, levels int32) format.PageHeader {
		return format.PageHeader{
			Type: format.DataPageV2, CompressedPageSize: 10, UncompressedPageSize: 10,
			DataPageHeaderV2: thrift.New(format.DataPageHeaderV2{NumValues: values, NumNulls: nulls, DefinitionLevelsByteLength: levels}),
		}
	}
	for name, c := range map[string]struct {
		header format.PageHeader
		good   bool
	}{
		"good":              {v1(10, 10, 5), true},
		"large":             {v1(huge, 10, 5), false},
		"large, unpacked":   {v1(10, huge, 5), false},
		"negative":          {v1(-1, 10, 5), false},
		"many values":       {v1(10, 10, 6), false},
		"v2":                {v2(5, 1, 2), true},
		"v2, many values":   {v2(huge, 0, 0), false},
		"v2, many nulls":    {v2(1, 2, 0), false},
		"v2, long levels":   {v2(5, 0, huge), false},
		"no header of type": {format.PageHeader{Type: format.DataPage, CompressedPageSize: 10, UncompressedPageSize: 10}, false},
		"many entries":      {dictionary(huge), false},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := thrift.Marshal(new(thrift.CompactProtocol), c.header)
			if err != nil {
				t.Fatal(err)
			}
			data = append([]byte("PAR1"), append(data, make([]byte, 10)...)...)
			meta := format.ColumnMetaData{DataPageOffset: 4, TotalCompressedSize: int64(len(data) - 4)}
			var check pageChecker
			if err := check.begin(bytes.NewReader(data), int64(len(data)), &meta, 0, 5); err != nil {
				t.Fatal(err)
			}
			before := allocated()
			err = check.next()
			if n := allocated() - before; (err == nil) != c.good || n > 1<<20 {
				t.Errorf("%v, %d bytes were allocated", err, n)
			}
		})
	}
}
