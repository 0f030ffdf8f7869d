package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

// member is a file in an archive.
type member struct{ name, data string }

func tarOf(t testing.TB, format tar.Format, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.data)), Mode: 0o644, Format: format}
		if strings.HasSuffix(m.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if m.data == "->" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "x", 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, m.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var webDataset = []member{
	{"./", ""}, {"a/0.JPG", "one"}, {"a/0.txt", "a cat"}, {"a/0.json", `{"prompt":"ocr","key":1}`},
	{"a/1.cls", "3"}, {"a/1.left.png", "two"}, {"a/1.right.png", "other"}, {"only.txt", "no image"}, {"a/._1.jpg", "x"},
	{"._2.json", "x"}, {"2.json", "{"}, {"._2.png", "x"}, {"2.png", "three"}, {"3.png", "->"}, {"4.png", strings.Repeat("4", 50)}, {"5.png", ""},
}

var webDatasetShown = []string{
	`a/0 a/0.JPG=one "ocr" {"txt":"a cat","key":1}`, `a/1`, `2 2.png=three !invalid_request`, `3 3.png!unreadable_image`, `4 4.png!too_large`, `5 5.png=`,
}

func TestTar(t *testing.T) {
	limit := func(string) int64 { return 40 }
	data := tarOf(t, tar.FormatPAX, webDataset...)
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	for name, data := range map[string]string{"s.tar": string(data), "s.tar.gz": gz.String(), "s.tar.zst": zst.String(), "s.tgz": gz.String(), "S.tzst": zst.String(), "U.TAR.GZ": gz.String(), "U.Tzst": zst.String()} {
		t.Run(name, func(t *testing.T) {
			want := slices.Clone(webDatasetShown)
			want[1] = `a/1 a/1.left.png=two`
			compare(t, read(t, Options{Args: []string{write(t, t.TempDir(), name, data)}, MaxBytes: limit}), want...)
		})
	}
	long := strings.Repeat("d/", 120) + "x.png"
	for name, format := range map[string]tar.Format{"PAX": tar.FormatPAX, "GNU": tar.FormatGNU} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), "l.tar", string(tarOf(t, format, member{long, "x"}, member{"é\n.png", "y"})))
			compare(t, read(t, Options{Args: []string{path}}), strings.TrimSuffix(long, ".png")+" "+long+"=x", "é\n é\n.png=y")
		})
	}
}

// TestTarCut: wherever an archive is cut, the samples before are there, and at most one
// record says so.
func TestTarCut(t *testing.T) {
	data := tarOf(t, tar.FormatUSTAR, member{"0.png", strings.Repeat("0", 600)}, member{"1.png", strings.Repeat("1", 600)}, member{"2.png", "2"})
	dir := t.TempDir()
	for cut := 0; cut < len(data); cut += 100 {
		path := write(t, dir, "c.tar", string(data[:cut]))
		got := read(t, Options{Args: []string{path}})
		whole := 0
		for _, r := range got {
			if r.Err == nil && r.Images[0].Err == nil {
				whole++
			}
		}
		want := 0
		for _, end := range []int{1112, 2648, 3585} { // of their bytes: headers and padding are 512
			if cut >= end {
				want++
			}
		}
		if cut == 0 && len(got) == 0 || len(got)-whole > 1 || whole != want {
			t.Errorf("cut at %d: %d whole of %d, want %d", cut, whole, len(got), want)
		}
	}
}

// Bytes that are not wanted are not read.
func TestTarUnwanted(t *testing.T) {
	path := write(t, t.TempDir(), "s.tar", string(tarOf(t, tar.FormatPAX, member{"0.png", "0"}, member{"1.png", "1"})))
	o := Options{Args: []string{path}}
	shards, err := o.Shards()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r := range shards[0].Records(t.Context(), func() bool { return n > 0 }) {
		if wanted := n > 0; (r.Images[0].Err == nil) != wanted {
			t.Errorf("record %d: %v", n, r.Images[0].Err)
		}
		n++
	}
}

type picture struct {
	Bytes []byte `parquet:"bytes,optional"`
	Path  string `parquet:"path,optional"`
}

func parquetOf[T any](t testing.TB, rows []T, options ...parquet.WriterOption) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, append(options, parquet.MaxRowsPerRowGroup(2))...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestParquet(t *testing.T) {
	dir := t.TempDir()
	type structRow struct {
		Image  picture `parquet:"image"`
		Prompt string  `parquet:"prompt,dict"`
		Label  int64   `parquet:"label"`
	}
	structs := parquetOf(t, []structRow{{picture{[]byte("one"), "1.jpg"}, "a", 1}, {picture{nil, "2.jpg"}, "a", 2}, {picture{nil, ""}, "b", 3}, {picture{[]byte("more"), ""}, "", 4}})
	type binaryRow struct {
		Image []byte `parquet:"image"`
		ID    int64  `parquet:"id"`
	}
	binary := parquetOf(t, []binaryRow{{[]byte("x"), 5}, {[]byte("too long"), 6}})
	type pathRow struct {
		File string   `parquet:"file"`
		Q    string   `parquet:"q"`
		Key  string   `parquet:"key"`
		Tags []string `parquet:"tags"`
	}
	paths := parquetOf(t, []pathRow{{"a.jpg", "why?", "k", nil}})
	for _, c := range []struct {
		name, data string
		o          Options
		want       []string
	}{
		{"struct", structs, Options{}, []string{`F#0 1.jpg=one "a"`, `F#1 D/2.jpg "a"`, `F#2 "b" !invalid_request`, `F#3 F#3=more ""`}},
		{"binary", binary, Options{MaxBytes: func(string) int64 { return 5 }}, []string{`5 5=x`, `6 6!too_large`}},
		{"columns", paths, Options{ImageColumn: "file", PromptColumn: "q", IDColumn: "key", ImageRoot: "/r"}, []string{`k /r/a.jpg "why?"`}},
		{"number as id", structs, Options{IDColumn: "label", PromptColumn: "label"}, []string{`1 1.jpg=one "1"`, `2 D/2.jpg "2"`, `3 "3" !invalid_request`, `4 4=more "4"`}},
		{"no image column", paths, Options{}, []string{`F#0 !unreadable_image`}},
		{"list", paths, Options{ImageColumn: "file", PromptColumn: "tags"}, []string{`F#0 !unreadable_image`}},
		{"unknown column", paths, Options{ImageColumn: "file", IDColumn: "nope"}, []string{`F#0 !unreadable_image`}},
		{"not parquet", "x", Options{}, []string{`F#0 !unreadable_image`}},
		{"empty", "", Options{}, []string{`F#0 !unreadable_image`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, dir, "t.parquet", c.data)
			c.o.Args = []string{path}
			for i := range c.want {
				c.want[i] = strings.ReplaceAll(strings.ReplaceAll(c.want[i], "F#", path+"#"), "D/", dir+"/")
			}
			compare(t, read(t, c.o), c.want...)
		})
	}
	for name, codec := range map[string]parquet.WriterOption{
		"snappy": parquet.Compression(&parquet.Snappy), "zstd": parquet.Compression(&parquet.Zstd), "gzip": parquet.Compression(&parquet.Gzip),
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, dir, "c.parquet", parquetOf(t, []binaryRow{{[]byte("x"), 5}, {[]byte("y"), 6}, {[]byte("z"), 7}}, codec))
			compare(t, read(t, Options{Args: []string{path}}), `5 5=x`, `6 6=y`, `7 7=z`)
		})
	}
}
