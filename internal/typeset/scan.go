package typeset

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/font/opentype/tables"

	"paligemma/internal/regular"
)

const (
	scanTime     = 4 * time.Second // then what was found must do
	maxFonts     = 20000           // faces
	maxFontBytes = 256 << 20       // of a file
	maxColorSize = 8 << 20         // bytes of a COLR table, whose paints nest
)

// typeface is a face of a font file: what is needed to choose it, and the face once
// it is used.
type typeface struct {
	path   string // "" for Go Regular
	index  int    // in a collection
	cmap   font.Cmap
	family string // lower case, without blanks
	aspect font.Aspect
	color  bool   // has colored glyphs
	region string // of a font for Chinese, Japanese or Korean: cn, tw, hk, jp or kr
	face   *font.Face
	broken bool
}

// has reports whether the font maps r to a glyph.
func (t *typeface) has(r rune) bool {
	found := false
	ok := guarded(func() { _, found = t.cmap.Lookup(r) })
	return ok && found
}

// load reads the face, if it has not been read, and reports whether it is there.
func (t *typeface) load() bool {
	if t.face != nil || t.broken {
		return !t.broken
	}
	err := withFaces(t.path, func(faces []*opentype.Loader) error {
		if t.index >= len(faces) {
			return errors.New("the file has changed")
		}
		ft, err := font.NewFont(faces[t.index])
		if err != nil {
			return err
		}
		t.face = font.NewFace(ft)
		t.face.SetPpem(strikeSize, strikeSize)
		return nil
	})
	t.broken = err != nil || t.face == nil || t.face.Upem() == 0
	return !t.broken
}

// scan returns the typefaces in folders, the preferred ones first. What is not a
// readable font is left out. After scanTime it returns what was found by then.
func scan(folders []string) []*typeface {
	found := make(chan *typeface)
	stop := make(chan struct{})
	go func() {
		defer close(found)
		for _, folder := range folders {
			filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return nil // an unreadable folder has no fonts
				}
				for _, t := range inspect(path) {
					select {
					case found <- t:
					case <-stop:
						return fs.SkipAll
					}
				}
				return nil
			})
		}
	}()
	defer close(stop)
	timer := time.NewTimer(scanTime)
	defer timer.Stop()
	var all []*typeface
	for len(all) < maxFonts {
		select {
		case t, ok := <-found:
			if ok {
				all = append(all, t)
				continue
			}
		case <-timer.C:
		}
		break
	}
	slices.SortStableFunc(all, prefer)
	return all
}

// inspect returns the typefaces of a file; none if it is not a font.
func inspect(path string) []*typeface {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".ttf", ".otf", ".ttc", ".otc":
	default:
		return nil
	}
	var all []*typeface
	withFaces(path, func(faces []*opentype.Loader) error {
		for i, ld := range faces {
			t := &typeface{path: path, index: i}
			if t.describe(ld) && !strings.Contains(t.family, "lastresort") && !strings.Contains(t.family, "blank") {
				all = append(all, t)
			}
		}
		return nil
	})
	return all
}

// describe fills in a typeface from a few tables of a face and reports whether it
// can be used.
func (t *typeface) describe(ld *opentype.Loader) bool {
	raw, err := ld.RawTable(opentype.MustNewTag("cmap"))
	if err != nil {
		return false
	}
	parsed, _, err := tables.ParseCmap(raw)
	if err != nil {
		return false
	}
	if t.cmap, _, err = font.ProcessCmap(parsed, tables.FPNone); err != nil {
		return false
	}
	description, _ := font.Describe(ld, nil)
	t.family, t.aspect = font.NormalizeFamily(description.Family), description.Aspect
	for _, tag := range []string{"CBDT", "sbix", "COLR"} {
		t.color = t.color || ld.HasTable(opentype.MustNewTag(tag))
	}
	for suffix, region := range map[string]string{"sc": "cn", "cn": "cn", "tc": "tw", "tw": "tw", "hk": "hk", "jp": "jp", "kr": "kr"} {
		if strings.Contains(t.family, "cjk") && strings.HasSuffix(t.family, suffix) {
			t.region = region
		}
	}
	return true
}

// prefer orders typefaces: upright, of normal weight and width, sans serif, Noto,
// then by name, so that the same system gives the same picture.
func prefer(a, b *typeface) int {
	return cmp.Or(
		cmp.Compare(a.aspect.Style, b.aspect.Style),
		cmp.Compare(math.Abs(float64(a.aspect.Weight-font.WeightNormal)), math.Abs(float64(b.aspect.Weight-font.WeightNormal))),
		cmp.Compare(math.Abs(float64(a.aspect.Stretch-font.StretchNormal)), math.Abs(float64(b.aspect.Stretch-font.StretchNormal))),
		cmp.Compare(a.rank(), b.rank()),
		cmp.Compare(a.path, b.path),
		cmp.Compare(a.index, b.index),
	)
}

// rank is lower for the designs that labels are easier to read in.
func (t *typeface) rank() int {
	sum := 0
	for _, part := range []struct {
		name string
		cost int
	}{{"sans", -4}, {"noto", -1}, {"serif", 4}, {"mono", 4}, {"math", 4}, {"looped", 2}, {"kufi", 2}, {"nastaliq", 2}, {"rashi", 4}, {"unifont", 8}, {"supplement", 1}} {
		if strings.Contains(t.family, part.name) {
			sum += part.cost
		}
	}
	return sum
}

// withFaces opens a font file, checks its directories of tables and hands on its
// faces, which may be used until use returns. A fault in parsing them is an error.
func withFaces(path string, use func([]*opentype.Loader) error) error {
	file, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := checkFont(file, file.Size()); err != nil {
		return err
	}
	err = errors.New("damaged font")
	guarded(func() {
		var faces []*opentype.Loader
		if faces, err = opentype.NewLoaders(file); err == nil {
			err = use(faces)
		}
	})
	return err
}

// checkFont holds the directories of tables in a font file against its size, since
// tables are allocated before they are read.
func checkFont(r io.ReaderAt, size int64) error {
	if size > maxFontBytes {
		return errors.New("font is too large")
	}
	var head [12]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return err
	}
	if string(head[:4]) != "ttcf" {
		return checkTables(r, 0, size)
	}
	n := binary.BigEndian.Uint32(head[8:])
	if n > 512 {
		return errors.New("font collection is too large")
	}
	offsets := make([]byte, 4*n)
	if _, err := r.ReadAt(offsets, 12); err != nil {
		return err
	}
	for i := range n {
		if err := checkTables(r, int64(binary.BigEndian.Uint32(offsets[4*i:])), size); err != nil {
			return err
		}
	}
	return nil
}

// checkTables checks the directory at an offset: the tables lie inside the file and
// are not larger than it together.
func checkTables(r io.ReaderAt, at, size int64) error {
	var head [12]byte
	if _, err := r.ReadAt(head[:], at); err != nil {
		return err
	}
	switch string(head[:4]) {
	case "\x00\x01\x00\x00", "OTTO", "true":
	default:
		return errors.New("not an OpenType font")
	}
	records := make([]byte, 16*int(binary.BigEndian.Uint16(head[4:])))
	if _, err := r.ReadAt(records, at+12); err != nil {
		return err
	}
	sum := int64(0)
	for rec := records; len(rec) > 0; rec = rec[16:] {
		offset, length := int64(binary.BigEndian.Uint32(rec[8:])), int64(binary.BigEndian.Uint32(rec[12:]))
		if sum += length; offset+length > size || sum > size {
			return errors.New("tables reach beyond the end of the font")
		}
		if string(rec[:4]) == "COLR" && length > maxColorSize {
			return errors.New("color table is too large")
		}
	}
	return nil
}
