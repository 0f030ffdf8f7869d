package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"paligemma/internal/atomicfile"
	"paligemma/internal/convert"
	"paligemma/internal/draw"
	"paligemma/internal/drawing"
	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/mask"
	"paligemma/internal/model"
	"paligemma/internal/preprocess"
	"paligemma/internal/result"
	"paligemma/internal/task"
)

// decodedMask is the mask of maskText, made without the command line.
func decodedMask(t *testing.T, W, H int) []byte {
	t.Helper()
	e, err := ggml.NewBackend(ggml.Options{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	tensors, err := convert.ReadMaskDecoder(fixture(t, "CODEC"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := model.NewMaskDecoder(e, tensors)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	o := task.Parse(maskText, W, H).Objects[0]
	logits, err := d.Decode(t.Context(), [][]int{o.Codes})
	if err != nil {
		t.Fatal(err)
	}
	mask, err := mask.Paste(logits[0], o.Box, W, H)
	if err != nil {
		t.Fatal(err)
	}
	return mask
}

// What parse says of a mask, and its PNG, are the decoder's mask; a model that
// holds the decoder gives the same.
func TestParseMask(t *testing.T) {
	const W, H = 320, 240
	pixels := decodedMask(t, W, H)
	want, err := mask.Measure(pixels, W, H)
	if err != nil {
		t.Fatal(err)
	}
	if want.Area < W*H/10 || want.Area > W*H*4/10 { // the box has 46 %
		t.Fatalf("a mask of %d pixels tests little", want.Area)
	}
	for _, decoder := range []string{"CODEC", "MASKMODEL"} {
		dir := filepath.Join(t.TempDir(), "masks")
		code, out, errs := runArgs(t, t.Context(), false, "parse", maskText, "--size", "320x240", "--mask-decoder", fixture(t, decoder), "--mask-dir", dir, "--format", "json")
		var got result.Result
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
			t.Fatalf("%d, %v, %s", code, err, errs)
		}
		m := (*got.Masks)[0]
		if *m.Area != want.Area || *m.RLE != want.RLE || !reflect.DeepEqual(m.Polygons, want.Polygons) || *m.PolygonArea != want.PolygonArea {
			t.Errorf("%s: area %d, %+v; want %d, %+v", decoder, *m.Area, m.RLE, want.Area, want.RLE)
		}
		if m.Label != "cat" || !slices.Equal(m.Codes, []int{127, 126, 125, 124, 123, 122, 121, 120, 119, 118, 117, 116, 115, 114, 113, 112}) {
			t.Errorf("%s: %q %v", decoder, m.Label, m.Codes)
		}
		img := readPNG(t, m.MaskFile)
		for i, v := range pixels {
			if got := color.GrayModel.Convert(img.At(i%W, i/W)).(color.Gray).Y; got != v*0xff {
				t.Fatalf("%s: pixel %d of %s is %d, want %d", decoder, i, m.MaskFile, got, v*0xff)
			}
		}
	}
}

// A text of very many masks does not take all memory.
func TestManyMasks(t *testing.T) {
	text := strings.Repeat(maskText+";", engine.MaxMasks+1)
	code, out, errs := runArgs(t, t.Context(), false, "parse", text, "--size", "4x4", "--mask-decoder", fixture(t, "CODEC"), "--format", "json")
	var got result.Result
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
		t.Fatalf("%d, %v, %s", code, err, errs)
	}
	m := *got.Masks
	if len(m) != engine.MaxMasks+1 || m[engine.MaxMasks-1].RLE == nil || m[engine.MaxMasks].RLE != nil || len(m[engine.MaxMasks].Codes) != 16 {
		t.Errorf("%d masks", len(m))
	}
	if !strings.Contains(errs, "there are 513 masks of 4×4 pixels, the first 512 are decoded") {
		t.Errorf("%q", errs)
	}
}

func readPNG(t *testing.T, path string) image.Image {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return img
}

// segmentOf runs segment on a picture of the fixtures as if the model had
// written text.
func segmentOf(t *testing.T, format, text string, o objectOptions) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	a := &app{Streams: Streams{Out: &out, Err: &bytes.Buffer{}}, common: commonOptions{Format: format}}
	path := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from := source{path: path}
	q := request{task: "segment", items: []item{{sources: []source{from}, prompts: []string{""}}}, objects: &o, masks: true, limits: limitOptions{MaxPixels: 1 << 20}}
	r := &run{app: a, request: q, printer: a.newPrinter(layout{})}
	if r.locator, err = a.newLocator(q); err != nil {
		return "", err
	}
	if r.locator.masks, err = openMasksAlone(fixture(t, "CODEC"), 1); err != nil {
		t.Fatal(err)
	}
	defer r.locator.close()
	if err := r.locator.makeFolders(); err != nil {
		t.Fatal(err)
	}
	images := []*Image{{source: from, data: data, fitted: &engine.Image{Size: image.Pt(200, 150)}}}
	result := r.newResult(&r.items[0], images)
	result.Prompt, result.Text = new(string), &text
	err = r.printResult(t.Context(), &r.items[0], images, &result, nil)
	return out.String(), err
}

// detect and segment do with a text what parse does: the same boxes, masks,
// tables and pictures.
func TestSegmentIsParse(t *testing.T) {
	dir := t.TempDir()
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	text := boxText + " ; " + maskText
	for _, format := range []string{formatText, formatJSON} {
		folder := func(name string) objectOptions {
			return objectOptions{Draw: filepath.Join(dir, format+name+".png"), MaskDir: filepath.Join(dir, format+name)}
		}
		ours := folder("segment")
		got, err := segmentOf(t, format, text, ours)
		if err != nil {
			t.Fatal(err)
		}
		theirs := folder("parse")
		code, want, errs := runArgs(t, t.Context(), false, "parse", text, "--image", scene, "--mask-decoder", fixture(t, "CODEC"),
			"--mask-dir", theirs.MaskDir, "--draw", theirs.Draw, "--format", format)
		if code != 0 {
			t.Fatal(errs)
		}
		want = strings.ReplaceAll(want, theirs.MaskDir, ours.MaskDir)
		if format == formatJSON {
			var a, b result.Result
			if err := errors.Join(json.Unmarshal([]byte(got), &a), json.Unmarshal([]byte(want), &b)); err != nil {
				t.Fatal(err)
			}
			if a.Drawing != ours.Draw {
				t.Errorf("drawing %q", a.Drawing)
			}
			a.Task, a.Model, a.Drawing, a.Prompt = b.Task, b.Model, b.Drawing, nil
			if !reflect.DeepEqual(a, b) || len(*a.Boxes) != 2 || len(*a.Masks) != 1 {
				t.Errorf("segment %s\nparse %s", got, want)
			}
		} else if got != want || strings.Count(got, "\n") != 2 {
			t.Errorf("segment %q, parse %q", got, want)
		}
		for a, b := range map[string]string{ours.Draw: theirs.Draw, filepath.Join(ours.MaskDir, "scene-2.png"): filepath.Join(theirs.MaskDir, "scene-2.png")} {
			if first, second := readPNG(t, a), readPNG(t, b); !reflect.DeepEqual(first, second) {
				t.Errorf("%s and %s differ", a, b)
			}
		}
	}
	// The drawing is the picture with both boxes and the mask on it.
	data, err := os.ReadFile(scene)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := drawing.New(data, preprocess.Limits{MaxPixels: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	want := drawn.Image
	objects := task.Parse(text, 200, 150).Objects
	if err := draw.Mask(want, draw.Colors([]string{"dog", "cat"})["cat"], decodedMask(t, 200, 150), draw.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := draw.Objects(want, []draw.Object{{Label: "dog", Box: objects[0].Box}, {Label: "cat", Box: objects[1].Box}}, draw.Options{}); err != nil {
		t.Fatal(err)
	}
	got := readPNG(t, filepath.Join(dir, "textsegment.png"))
	for y := range 150 {
		for x := range 200 {
			if g, w := color.NRGBAModel.Convert(got.At(x, y)), want.NRGBAAt(x, y); g != w {
				t.Fatalf("the drawing at %d,%d is %v, want %v", x, y, g, w)
			}
		}
	}
}

// A picture that cannot be written ends the run without a result, and what is
// there stays as it is.
func TestSegmentDisk(t *testing.T) {
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "scene-1.png")
	if err := os.WriteFile(inTheWay, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := segmentOf(t, formatText, maskText, objectOptions{MaskDir: dir}); !errors.Is(err, atomicfile.ErrExists) {
		t.Errorf("%v", err)
	}
	if out, err := segmentOf(t, formatText, maskText, objectOptions{MaskDir: dir, Draw: inTheWay, Overwrite: true}); err == nil || out != "" {
		t.Errorf("a mask and the drawing in one file: %q, %v", out, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestFileNames(t *testing.T) {
	got := fileNames([]string{"a/x.jpg", "b/x.png", "X.gif", "x-2.png", "-", ".png", "y.tar.gz", "c/.hidden.png"})
	want := []string{"x", "x-2", "X-3", "x-2-2", "stdin", "image", "y.tar", ".hidden"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDrawingPaths(t *testing.T) {
	dir := t.TempDir()
	dotted := filepath.Join(dir, "v1.2")
	if err := os.Mkdir(dotted, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		draw   string
		names  string
		want   string
		folder string
	}{
		{"out.png", "a", "out.png", "."},
		{"out/x.JPEG", "a", "out/x.JPEG", "out"},
		{"out", "a", "out/a.png", "out"},
		{"out.d/", "a b", "out.d/a.png out.d/b.png", "out.d/"},
		{dotted, "a b", dotted + "/a.png " + dotted + "/b.png", dotted},
		{"{}.jpg", "a b", "a.jpg b.jpg", "."},
		{"x/{}-{}.png", "a", "x/a-a.png", "x"},
		{"out.png", "a b", "", ""},
		{"out.bmp", "a", "", ""},
		{"{}", "a", "", ""},
		{"{}/a.png", "a", "", ""},
		{"-", "a", "-", ""},
		{"-", "a b", "", ""},
	} {
		t.Run(c.draw+" "+c.names, func(t *testing.T) {
			got, folder, err := drawingPaths(c.draw, strings.Fields(c.names))
			if c.want == "" {
				var usage usageError
				if !errors.As(err, &usage) {
					t.Errorf("%s: %q, %v", c.draw, got, err)
				}
				return
			}
			if err != nil || filepath.ToSlash(strings.Join(got, " ")) != c.want || folder != c.folder {
				t.Errorf("%s %s: %q in %q, %v; want %q in %q", c.draw, c.names, got, folder, err, c.want, c.folder)
			}
		})
	}
}

// parse answers a line before the next one comes, and a line without an end.
func TestParseIsAFilter(t *testing.T) {
	cmd, stdin, stdout := start(t, t.TempDir(), "parse", "--size", "1023x1023", "--format", "jsonl")
	answer := json.NewDecoder(stdout)
	for i, text := range []string{boxText + "\n", "\r\n", boxText + "\r\n", boxText} {
		if _, err := stdin.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			stdin.Close()
		}
		var got result.Result
		if err := answer.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got.Line != i+1 || *got.Text != strings.TrimRight(text, "\r\n") {
			t.Errorf("line %d: %d, %q", i+1, got.Line, *got.Text)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	cmd, stdin, stdout = start(t, t.TempDir(), "parse", "--size", "9x9", "--format", "jsonl")
	if _, err := stdin.Write([]byte("x\n")); err != nil {
		t.Fatal(err)
	}
	var got result.Result
	if err := json.NewDecoder(stdout).Decode(&got); err != nil {
		t.Fatal(err)
	}
	interrupt(t, cmd) // while it waits
}

func TestScanLinesStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for l := range scanLines(ctx, neverReader{}) {
		t.Errorf("line %+v", l)
	}
}

type neverReader struct{}

func (neverReader) Read([]byte) (int, error) { select {} }

// A line that is too long is skipped without being held, and the stream goes on.
func TestScanLinesLong(t *testing.T) {
	long := func(n int) io.Reader { return io.LimitReader(repeated('x'), int64(n)) }
	for _, c := range []struct {
		name string
		in   []io.Reader
		want string // numbers of the lines that are read, ! of those that are too long
	}{
		{"none", nil, ""},
		{"between others", []io.Reader{strings.NewReader("a\n"), long(maxLine + 1), strings.NewReader("\nb\n")}, "1 2! 3"},
		{"the longest", []io.Reader{long(maxLine), strings.NewReader("\r\nb")}, "1 2"},
		{"at the end", []io.Reader{strings.NewReader("a\n"), long(maxLine + 1)}, "1 2!"},
		{"several", []io.Reader{long(maxLine + 2), strings.NewReader("\n"), long(maxLine + 3), strings.NewReader("\n\n")}, "1! 2! 3"},
		{"64 MiB", []io.Reader{long(64 << 20), strings.NewReader("\nb")}, "1! 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var got []string
			for l := range scanLines(t.Context(), io.MultiReader(c.in...)) {
				mark := ""
				if l.err != nil {
					mark = "!"
				}
				got = append(got, fmt.Sprint(l.number, mark))
			}
			runtime.ReadMemStats(&after)
			if text := strings.ReplaceAll(strings.Join(got, " "), " !", "!"); text != c.want {
				t.Errorf("%q, want %q", text, c.want)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
				t.Errorf("%d bytes were allocated", grown)
			}
		})
	}
	t.Run("a read that fails", func(t *testing.T) {
		var last line
		for last = range scanLines(t.Context(), io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(io.ErrUnexpectedEOF))) {
		}
		if last.number != 2 || !errors.Is(last.err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v", last)
		}
	})
}

// repeated is a byte without end.
type repeated byte

func (r repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}
