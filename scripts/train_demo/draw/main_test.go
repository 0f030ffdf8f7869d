package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"testing"

	"paligemma/internal/demo/scene"
	"paligemma/internal/preprocess"
)

func TestStream(t *testing.T) {
	const size, count = 56, 5
	var out bytes.Buffer
	if err := run(options{seed: 3, eval: -1, count: count, size: size}, &out); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(&out)
	take := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	for i := range count {
		var rec record
		if err := json.Unmarshal(take(int(binary.LittleEndian.Uint32(take(4)))), &rec); err != nil {
			t.Fatal(err)
		}
		want := scene.Draw(scene.TrainSeed(uint64(3+i)), scene.Options{})
		if rec.Scene.Seed != want.Seed || len(rec.Scene.Objects) != len(want.Objects) || len(rec.Samples) == 0 {
			t.Errorf("record %d: %+v", i, rec.Scene)
		}
		if !bytes.Equal(take(3*size*size), preprocess.Resize(want.Picture, size, size).Pix) {
			t.Errorf("record %d: another picture", i)
		}
		if !bytes.Equal(take(size*size), want.IndexMap(size)) {
			t.Errorf("record %d: another map", i)
		}
		for j := range want.Objects {
			if !bytes.Equal(take(scene.CropSize*scene.CropSize), want.Objects[j].Crop()) {
				t.Errorf("record %d: another mask %d", i, j)
			}
		}
	}
	if n := r.Buffered(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	if err := run(options{eval: 1, count: 3, size: 56, out: dir}, io.Discard); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "000002.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	want := scene.Draw(scene.EvalSeed(1, 2), scene.Options{})
	if img.Bounds().Dx() != want.W || img.Bounds().Dy() != want.H {
		t.Errorf("picture of %v, want %d×%d", img.Bounds(), want.W, want.H)
	}
	text, err := os.ReadFile(filepath.Join(dir, "scenes.jsonl"))
	if err != nil || bytes.Count(text, []byte("\n")) != 3 {
		t.Errorf("scenes.jsonl: %v, %d bytes", err, len(text))
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []options{{size: 0}, {size: 5000}, {size: 56, out: "x"}} {
		if err := run(o, io.Discard); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
