package npz

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// npy makes a .npy: version 1.0 has a length of 2 bytes, others of 4.
func npy(major, minor byte, dict string, values any) []byte {
	b := []byte{0x93, 'N', 'U', 'M', 'P', 'Y', major, minor}
	if major == 1 {
		b = le.AppendUint16(b, uint16(len(dict)))
	} else {
		b = le.AppendUint32(b, uint32(len(dict)))
	}
	b = append(b, dict...)
	b, err := binary.Append(b, le, values)
	if err != nil {
		panic(err)
	}
	return b
}

const dict4 = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }   \n"

var four = []float32{1, 2, 3, 4}

// entry is a file of a zip to make.
type entry struct {
	name   string
	method uint16
	data   []byte
}

func makeZip(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, e := range entries {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func parse(data []byte) (*Archive, error) {
	return Parse(bytes.NewReader(data), int64(len(data)))
}

// TestNumPy reads what NumPy wrote (see testdata/README.md).
func TestNumPy(t *testing.T) {
	all := func(f func(i int) float32) []float32 {
		v := make([]float32, 24)
		for i := range v {
			v[i] = f(i)
		}
		return v
	}
	eighths := all(func(i int) float32 { return float32(i) / 8 })
	want := map[string][]float32{
		"f4": eighths, "f8": eighths, "fortran": eighths,
		"f2": all(func(i int) float32 { return float32(i)/8 - 1 }),
		"i8": all(func(i int) float32 { return float32(i) - 12 }),
		"u1": all(func(i int) float32 { return float32(i) }),
		"bool": all(func(i int) float32 {
			if i%3 == 0 {
				return 1
			}
			return 0
		}),
		"scalar": {2.5},
		"vector": {0, 1, 2, 3, 4},
	}
	shapes := map[string][]int{"scalar": {}, "vector": {5}}
	refused := map[string]error{"big": ErrUnsupported, "complex": ErrUnsupported, "empty": ErrInvalid, "none": ErrNotFound}
	for _, file := range []string{"stored.npz", "deflated.npz"} {
		t.Run(file, func(t *testing.T) {
			a, err := Open(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			names := a.Names()
			if wantNames := []string{"big", "bool", "complex", "empty", "f2", "f4", "f8", "five", "fortran", "i8", "scalar", "u1", "vector"}; !slices.Equal(names, wantNames) {
				t.Errorf("names %q", names)
			}
			for name, want := range want {
				shape := shapes[name]
				if shape == nil {
					shape = []int{2, 3, 4}
				}
				data, gotShape, err := a.Float32(name)
				if err != nil || !slices.Equal(data, want) || !slices.Equal(gotShape, shape) {
					t.Errorf("%s, %s: %v %v, %v; want %v %v", file, name, gotShape, data, err, shape, want)
				}
			}
			for name, want := range refused {
				data, _, err := a.Float32(name)
				if !errors.Is(err, want) || data != nil {
					t.Errorf("%s, %s: %v, want %v", file, name, err, want)
				} else if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), `"`+name+`"`) {
					t.Errorf("the error names no file or array: %v", err)
				}
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if _, _, err := a.Float32("f4"); err == nil {
				t.Error("a closed archive is read")
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none.npz")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	path := filepath.Join(t.TempDir(), "bad.npz")
	if err := os.WriteFile(path, []byte("PK\x03\x04 no zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), path) {
		t.Errorf("no zip: %v", err)
	}
}

func TestReadNPY(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name  string
		data  []byte
		want  []float32
		shape []int
	}{
		{"version 1", npy(1, 0, dict4, four), four, []int{2, 2}},
		{"version 2", npy(2, 0, dict4, four), four, []int{2, 2}},
		{"version 3", npy(3, 0, dict4, four), four, []int{2, 2}},
		{"fortran", npy(1, 0, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}\n", []float32{1, 4, 2, 5, 3, 6}), []float32{1, 2, 3, 4, 5, 6}, []int{2, 3}},
		{"other order and blanks", npy(1, 0, "{ \"shape\" :(4,),'fortran_order':False , 'descr': \"<f4\" }\n", four), four, []int{4}},
		{"infinite f8", npy(1, 0, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}\n", []float64{-inf, 1e-300, 0.1}), []float32{float32(-inf), 0, 0.1}, []int{3}},
		{"u8", npy(1, 0, "{'descr': '<u8', 'fortran_order': False, 'shape': (1,)}\n", []uint64{1 << 63}), []float32{1 << 63}, []int{1}},
		{"i1", npy(1, 0, "{'descr': '|i1', 'fortran_order': False, 'shape': (1,)}\n", []int8{-3}), []float32{-3}, []int{1}},
		{"i2 u2", npy(1, 0, "{'descr': '<i2', 'fortran_order': False, 'shape': (2,)}\n", []int16{-3, 300}), []float32{-3, 300}, []int{2}},
		{"u4", npy(1, 0, "{'descr': '<u4', 'fortran_order': False, 'shape': (1,)}\n", []uint32{1 << 31}), []float32{1 << 31}, []int{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, shape, err := readNPY(bytes.NewReader(c.data), int64(len(c.data)))
			if err != nil || !slices.Equal(data, c.want) || !slices.Equal(shape, c.shape) {
				t.Errorf("%v %v, %v; want %v %v", shape, data, err, c.shape, c.want)
			}
			for i := range c.data {
				if _, _, err := readNPY(bytes.NewReader(c.data[:i]), int64(i)); err == nil {
					t.Errorf("the first %d bytes are accepted", i)
				}
				if _, _, err := readNPY(bytes.NewReader(c.data[:i]), int64(len(c.data))); err == nil {
					t.Errorf("%d bytes are accepted as %d", i, len(c.data))
				}
			}
		})
	}
}

func TestHeaderRejects(t *testing.T) {
	const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n"
	if _, err := parseHeader(good); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the header", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, text := range []string{
		"", "\n", "{}\n", "{", "[]\n",
		strings.TrimSuffix(good, "\n"),
		good + "\n", good + " ", good + "x",
		replace("'<f4'", "'<f4"), replace("'<f4'", "<f4"), replace("'<f4'", `'\x3cf4'`), replace("'<f4'", "None"), replace("'<f4'", "b'<f4'"),
		replace("'<f4'", "'<f4' '2'"), replace("'<f4'", "'<f\n4'"), replace("'<f4'", "'\xff'"),
		replace("'descr'", "'Descr'"), replace("'descr': '<f4', ", ""), replace("'fortran_order': False, ", ""), replace("'shape': (2, 2), ", ""),
		replace("'descr': '<f4',", "'descr': '<f4', 'descr': '<f4',"), replace("'shape'", "'more': 1, 'shape'"),
		replace("False", "false"), replace("False", "0"), replace("False", "Falsetto"), replace("False,", "False"), replace("False,", "False,,"),
		replace("(2, 2)", "2"), replace("(2, 2)", "(2)"), replace("(2, 2)", "(2, 2"), replace("(2, 2)", "[2, 2]"), replace("(2, 2)", "(,)"),
		replace("(2, 2)", "(2 2)"), replace("(2, 2)", "(2,, 2)"), replace("(2, 2)", "(-2, 2)"), replace("(2, 2)", "(+2, 2)"), replace("(2, 2)", "(0, 2)"),
		replace("(2, 2)", "(02, 2)"), replace("(2, 2)", "(2L, 2)"), replace("(2, 2)", "(2.0, 2)"), replace("(2, 2)", "(0x2, 2)"), replace("(2, 2)", "(1, 1, 1, 1, 2, 2)"),
		replace("(2, 2)", "(268435457,)"), replace("(2, 2)", "(18446744073709551618, 2)"), replace("(2, 2)", "("+strings.Repeat("9", 1000)+",)"),
		replace("(2, 2), }", "(2, 2), } }"), replace("{", "{{"),
	} {
		if h, err := parseHeader(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %+v, %v; want ErrInvalid", text, h, err)
		}
	}
	for _, descr := range []string{"[('a', '<f4')]", "'|O'"} {
		if _, err := parseHeader(replace("'<f4'", descr)); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v, want ErrUnsupported", descr, err)
		}
	}
}

func TestReadNPYRejects(t *testing.T) {
	header := func(descr, shape string) string {
		return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + "}\n"
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"magic", append([]byte("\x92"), npy(1, 0, dict4, four)[1:]...), ErrInvalid},
		{"version 1.1", npy(1, 1, dict4, four), ErrUnsupported},
		{"version 4.0", npy(4, 0, dict4, four), ErrUnsupported},
		{"version 0.0", npy(0, 0, dict4, four), ErrUnsupported},
		{"a long header", npy(2, 0, dict4[:len(dict4)-1]+strings.Repeat(" ", maxHeader)+"\n", four), ErrTooLarge},
		{"bytes after", npy(1, 0, dict4, append(slices.Clone(four), 5)), ErrInvalid},
		{"values missing", npy(1, 0, dict4, four[:3]), ErrInvalid},
		{"a product that wraps", npy(1, 0, header("<f4", "(268435456, 268435456, 268435456, 4)"), four), ErrTooLarge},
		{"a product over the limit", npy(1, 0, header("|u1", "(65536, 65536)"), four), ErrTooLarge},
		{"much announced", npy(1, 0, header("<f4", "(60000000,)"), four), ErrInvalid},
		{"big-endian", npy(1, 0, header(">f4", "(4,)"), four), ErrUnsupported},
		{"text", npy(1, 0, header("<U4", "(1,)"), four), ErrUnsupported},
		{"a bool of 2", npy(1, 0, header("|b1", "(1,)"), []byte{2}), ErrUnsupported},
		{"f8 beyond float32", npy(1, 0, header("<f8", "(1,)"), []float64{1e39}), ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			if data, _, err := readNPY(bytes.NewReader(c.data), int64(len(c.data))); !errors.Is(err, c.want) || data != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if _, _, err := readNPY(strings.NewReader(""), MaxArrayBytes+1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a size over the limit: %v", err)
	}
	// More bytes than size says.
	data := npy(1, 0, dict4, append(slices.Clone(four), 5))
	if _, _, err := readNPY(bytes.NewReader(data), int64(len(data)-4)); !errors.Is(err, ErrInvalid) {
		t.Errorf("bytes after the size: %v", err)
	}
}

// TestMemoryFollowsTheData: a header that announces much allocates little.
func TestMemoryFollowsTheData(t *testing.T) {
	data := npy(1, 0, "{'descr': '<f4', 'fortran_order': False, 'shape': (60000000,)}\n", four)
	size := int64(len(data)-16) + 4*60000000
	got := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, _, err := readNPY(bytes.NewReader(data), size); !errors.Is(err, ErrInvalid) {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if got > 1<<20 {
		t.Errorf("%d bytes allocated for a file of %d", got, len(data))
	}
}

func TestArchiveRejects(t *testing.T) {
	good := npy(1, 0, dict4, four)
	a := entry{"a.npy", zip.Store, good}
	valid := makeZip(t, a)
	if arc, err := parse(valid); err != nil || !slices.Equal(arc.Names(), []string{"a"}) || arc.Close() != nil {
		t.Fatal(err)
	}
	// patch changes a field of the only entry in the directory.
	patch := func(data []byte, offset int, field ...byte) []byte {
		data = slices.Clone(data)
		at := bytes.LastIndex(data, []byte("PK\x01\x02"))
		copy(data[at+offset:], field)
		return data
	}
	many := make([]entry, MaxArrays+1)
	for i := range many {
		many[i] = entry{strings.Repeat("a", i%64+1) + strings.Repeat("b", i/64) + ".npy", zip.Store, nil}
	}
	two := makeZip(t, a, entry{"b.npy", zip.Store, good})
	first := bytes.Index(two, []byte("PK\x01\x02"))
	overlap := patch(two, 42, two[first+42:first+46]...) // the second starts where the first does
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrInvalid},
		{"a name twice", makeZip(t, a, a), ErrInvalid},
		{"a name that is not an array", makeZip(t, a, entry{"a.txt", zip.Store, good}), ErrInvalid},
		{"no name", makeZip(t, entry{".npy", zip.Store, good}), ErrInvalid},
		{"a name that is not UTF-8", makeZip(t, entry{"\xff.npy", zip.Store, good}), ErrInvalid},
		{"a folder", makeZip(t, entry{"a.npy/", zip.Store, nil}), ErrInvalid},
		{"too many", makeZip(t, many...), ErrTooLarge},
		{"encrypted", patch(valid, 8, 1), ErrUnsupported},
		{"method 12", patch(valid, 10, 12), ErrUnsupported},
		{"a bomb", patch(makeZip(t, entry{"a.npy", zip.Deflate, good}), 24, 1, 0, 0, 0x10), ErrTooLarge},
		{"over what deflate can do", patch(makeZip(t, entry{"a.npy", zip.Deflate, good}), 24, 0, 0, 0, 1), ErrInvalid},
		{"stored, but sizes differ", patch(valid, 24, 1), ErrInvalid},
		{"longer than the file", patch(valid, 20, 0, 0, 0, 1, 0, 0, 0, 1), ErrInvalid},
		{"past the end", patch(valid, 42, 0xff, 0xff), ErrInvalid},
		{"overlapping", overlap, ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parse(c.data); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if _, err := Parse(bytes.NewReader(nil), -1); !errors.Is(err, ErrInvalid) {
		t.Errorf("negative size: %v", err)
	}
	// A checksum that is wrong.
	bad := slices.Clone(valid)
	bad[bytes.Index(bad, good)+len(good)-1] ^= 1
	arc, err := parse(bad)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := arc.Float32("a"); !errors.Is(err, zip.ErrChecksum) || !errors.Is(err, ErrInvalid) {
		t.Errorf("wrong checksum: %v", err)
	}
	for i := range valid {
		if _, err := parse(valid[:i]); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", i, len(valid))
		}
	}
}

// TestArray reads arrays in parts, as NumPy stored them.
func TestArray(t *testing.T) {
	a, err := Open(filepath.Join("testdata", "stored.npz"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	x, err := a.Array("f4")
	if err != nil || x.Type != "<f4" || !slices.Equal(x.Shape, []int64{2, 3, 4}) || x.Size != 96 {
		t.Fatalf("%+v, %v", x, err)
	}
	b := make([]byte, 8)
	if err := a.ReadAt(x, b, 88); err != nil || math.Float32frombits(le.Uint32(b[4:])) != 23.0/8 {
		t.Errorf("the last values are %v, %v", b, err)
	}
	for _, off := range []int64{-1, 89, 97, math.MaxInt64} {
		if err := a.ReadAt(x, b, off); err == nil || !strings.Contains(err.Error(), `"f4"`) {
			t.Errorf("at %d: %v", off, err)
		}
	}
	for name, want := range map[string]error{"fortran": ErrUnsupported, "big": ErrUnsupported, "complex": ErrUnsupported, "empty": ErrInvalid, "none": ErrNotFound} {
		if _, err := a.Array(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if five, err := a.Array("five"); err != nil || len(five.Shape) != 5 {
		t.Errorf("five dimensions: %+v, %v", five, err)
	}
	if err := a.Unchanged(); err != nil {
		t.Error(err)
	}
	packed, err := Open(filepath.Join("testdata", "deflated.npz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	if _, err := packed.Array("f4"); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "savez") {
		t.Errorf("compressed: %v", err)
	}
}

// TestVerify compares checksums, of arrays that are never read otherwise, too.
func TestVerify(t *testing.T) {
	data := makeZip(t, entry{"a.npy", zip.Store, npy(1, 0, dict4, four)}, entry{"b.npy", zip.Deflate, npy(1, 0, dict4, four)})
	good, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := good.Verify(context.Background(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := good.Verify(context.Background(), "c"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no array: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := good.Verify(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	array := npy(1, 0, dict4, four)
	data[bytes.Index(data, array)+len(array)-1] ^= 1
	bad, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Verify(context.Background(), "a"); !errors.Is(err, zip.ErrChecksum) {
		t.Errorf("wrong checksum: %v", err)
	}
}

// TestLargeArray: what is stored as it is may be larger than what is read whole, and is
// read through an archive with 64-bit sizes, as NumPy writes them.
func TestLargeArray(t *testing.T) {
	const dim = 16 << 20
	dict := "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 16777216), }\n"
	header := npy(1, 0, dict, []float32{})
	size := int64(len(header)) + 5*dim*4
	path := filepath.Join(t.TempDir(), "large.npz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	writeSparse(t, f, header, size)
	a, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	x, err := a.Array("a")
	if err != nil || x.Size != 5*dim*4 {
		t.Fatalf("%+v, %v", x, err)
	}
	if err := a.ReadAt(x, make([]byte, 16), x.Size-16); err != nil {
		t.Error(err)
	}
	if _, _, err := a.Float32("a"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("read whole: %v, want ErrTooLarge", err)
	}
}

// writeSparse writes a zip of one stored entry, a.npy, whose bytes after the header are
// a hole in the file, with the sizes in zip64's fields.
func writeSparse(t *testing.T, f *os.File, header []byte, size int64) {
	t.Helper()
	const name = "a.npy"
	extra := le.AppendUint64(le.AppendUint64([]byte{1, 0, 16, 0}, uint64(size)), uint64(size))
	fields := func(b []byte) []byte {
		b = append(b, 45, 0, 0, 0, 0, 0, 0, 0, 0x21, 0) // version, flags, method, time, date
		b = append(b, 0, 0, 0, 0)                       // the checksum, which is not set
		b = append(b, bytes.Repeat([]byte{0xff}, 8)...) // sizes: see the extra field
		return append(b, byte(len(name)), 0, byte(len(extra)), 0)
	}
	local := append(append(fields([]byte("PK\x03\x04")), name...), extra...)
	directory := append(fields([]byte("PK\x01\x02\x2d\x03")), make([]byte, 14)...)
	directory = append(append(directory, name...), extra...)
	start := int64(len(local)) + size
	end := []byte("PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00")
	end = le.AppendUint32(le.AppendUint32(end, uint32(len(directory))), uint32(start))
	for off, b := range map[int64][]byte{0: append(local, header...), start: append(directory, append(end, 0, 0)...)} {
		if _, err := f.WriteAt(b, off); err != nil {
			t.Fatal(err)
		}
	}
}
