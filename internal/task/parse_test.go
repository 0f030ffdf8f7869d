package task

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	box1  = "<loc0000><loc0000><loc1023><loc1023>"
	box2  = "<loc0100><loc0200><loc0300><loc0400>"
	codes = "<seg000><seg001><seg002><seg003><seg004><seg005><seg006><seg007><seg008><seg009><seg010><seg011><seg012><seg013><seg014><seg127>"
)

// notes returns what was kept with a doubt and what was dropped, in the order of
// the text.
func notes(r Result) []Note {
	all := slices.Clone(r.Doubts)
	for _, n := range r.Dropped {
		n.Problem += ", dropped"
		all = append(all, n)
	}
	slices.SortStableFunc(all, func(a, b Note) int { return a.Offset - b.Offset })
	return all
}

// show is a result in short: label, M for a mask, ! for an inverted box; then
// the notes.
func show(r Result) string {
	var s []string
	for _, o := range r.Objects {
		d := fmt.Sprintf("%q", o.Label)
		if o.Codes != nil {
			d += "M"
		}
		if o.Inverted() {
			d += "!"
		}
		s = append(s, d)
	}
	for _, n := range notes(r) {
		s = append(s, n.Problem)
	}
	return strings.Join(s, " | ")
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ``},
		{" ; ;; ", ``},
		{box1 + " cat", `"cat"`},
		{box1 + "cat", `"cat"`},
		{box1, `""`},
		{box1 + " ; " + box2 + " dog", `"" | "dog"`},
		{box1 + " cat ; " + box2 + " brown  dog \n", `"cat" | "brown  dog"`},
		{box1 + " cat;" + box2 + " dog;", `"cat" | "dog"`},
		{box1 + " cat " + box2 + " dog", `"cat" | "dog"`},
		{box1 + box2 + " dog", `"" | "dog"`},
		{box1 + " 猫 ; " + box2 + " größer", `"猫" | "größer"`},
		{box1 + codes + " cat", `"cat"M`},
		{box1 + " " + codes + " cat ; " + box2 + codes, `"cat"M | ""M`},
		{strings.ReplaceAll(box1+codes, "><", "> <") + " cat", `"cat"M`},
		{"\n" + box1 + " cat<eos>", `"cat"`},
		{"<bos>" + box1 + " cat<eos><pad><pad>", `"cat"`},
		{"<loc1023><loc0900><loc0500><loc1000> cat", `"cat"! | inverted box`},
		{"<loc0500><loc0900><loc0500><loc0900> cat", `"cat"`}, // empty, not inverted

		// Broken.
		{"<loc0001><loc0002><loc0003> cat ; " + box1 + " dog", `"dog" | 3 of 4 <loc> tokens, dropped`},
		{box1 + " cat ; <loc0001><loc0002>", `"cat" | 2 of 4 <loc> tokens, dropped`},
		{box1 + "<loc0001> cat", `"" | 1 of 4 <loc> tokens, dropped`},
		{"<loc0001> " + box1 + " cat", `"cat" | 1 of 4 <loc> tokens, dropped`},
		{"<loc0001> <loc0002><loc0003> " + box1 + box2 + " cat", `"" | "cat" | 3 of 4 <loc> tokens, dropped`},
		{"<loc0001> <loc0002> <loc0003> <loc0004> <loc0005> cat", `"" | 1 of 4 <loc> tokens, dropped`},
		{box1 + box2[:18] + " " + box2 + " cat", `"" | "cat" | 2 of 4 <loc> tokens, dropped`},
		{"<loc0001><loc0002>, <loc0003><loc0004>", `2 of 4 <loc> tokens, dropped | 2 of 4 <loc> tokens, dropped`},
		{"<loc0001> ; <loc0002>", `1 of 4 <loc> tokens, dropped | 1 of 4 <loc> tokens, dropped`},
		{box1 + codes[:15*8] + " cat", `"cat" | 15 of 16 <seg> tokens, dropped`},
		{box1 + codes + "<seg001><seg002> cat", `"cat"M | <seg> tokens after the 16 of a mask, dropped`},
		{box1 + " cat " + codes, `"cat" | <seg> tokens without a box, dropped`},
		{codes + box1 + " cat", `"cat" | <seg> tokens without a box, dropped`},
		{"<loc0001>" + codes + " cat", `1 of 4 <loc> tokens, dropped | <seg> tokens without a box, dropped | text without a box, dropped`},
		{"a cat on a mat", `text without a box, dropped`},
		{"see: " + box1 + " cat ; or not", `"cat" | text without a box, dropped | text without a box, dropped`},

		{"cat " + box1 + " ; dog " + box2, `"" | "" | text without a box, dropped | text without a box, dropped`},
		{"detect cat\n" + box1 + " cat", `"cat" | text without a box, dropped`},

		// Separators and commas.
		{box1 + " 猫；" + box2 + "　犬　；", `"猫" | "犬"`},
		{"；;；", ``},
		{box1 + " cat, " + box2 + " dog,", `"cat" | "dog"`},
		{box1 + " cat , ,; " + box2 + ",", `"cat" | ""`},
		{box1 + " 猫，" + box2 + " 犬、", `"猫" | "犬"`},
		{box1 + ", " + box2 + " cat, black ; ,", `"" | "cat, black"`},

		// Wrapped.
		{"&lt;loc0001&gt;&lt;loc0002&gt;&lt;loc0003&gt;&lt;loc0004&gt; cat ; x", `HTML-escaped tokens (unescape the text first), dropped | text without a box, dropped`},
		{box1 + " a &lt; b &amp; R&D; " + box2 + " dog", `"a &lt; b &amp; R&D" | "dog"`},
		{box1 + " cat ; " + box2 + " &lt;loc0001&gt;", `"cat" | "&lt;loc0001&gt;" | HTML-escaped tokens (unescape the text first) in a label`},
		{`{"text": "` + box1 + ` cat"}`, `"cat\"}" | text that looks like JSON (decode it first), dropped`},
		{`"\u003cloc0001\u003e cat"`, `JSON-escaped tokens (decode the JSON first), dropped`},
		{"```json\n[{\"box_2d\": [1, 2, 3, 4], \"label\": \"cat\"}]\n```", `text that looks like JSON (decode it first), dropped`},

		// Not tokens.
		{"<loc1024><loc0000><loc0000><loc0000> cat", `text without a box, dropped | 3 of 4 <loc> tokens, dropped`},
		{box1 + " <loc1024>", `"<loc1024>"`},
		{box1 + "<loc123>", `"<loc123>"`},
		{box1 + "<loc00001>", `"<loc00001>"`},
		{box1 + "<loc+001>", `"<loc+001>"`},
		{box1 + "<loc 001>", `"<loc 001>"`},
		{box1 + "<loc٠٠٠٠>", `"<loc٠٠٠٠>"`},
		{box1 + "<LOC0001>", `"<LOC0001>"`},
		{box1 + "<loc0001", `"<loc0001"`},
		{box1 + "<loc000", `"<loc000"`},
		{box1 + "<seg128>", `"<seg128>"`},
		{box1 + "<seg0001>", `"<seg0001>"`},
		{box1 + "<seg01>", `"<seg01>"`},
		{box1 + "<<loc0001>>", `"<" | 1 of 4 <loc> tokens, dropped`},
		{box1 + " a < b <", `"a < b <"`},
		{box1 + " \xff\x00 ", `"\xff\x00"`},
	} {
		r := Parse(c.text, 100, 100)
		if got := show(r); got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.text, got, c.want)
		}
		for _, n := range notes(r) {
			if got := c.text[n.Offset : n.Offset+len(n.Text)]; got != n.Text || got == "" {
				t.Errorf("%q: note %q lies at %q", c.text, n.Text, got)
			}
		}
		if r.DroppedCount != len(r.Dropped) || len(Pieces(r.Dropped)) != len(r.Dropped) {
			t.Errorf("%q: %d dropped, %d are listed", c.text, r.DroppedCount, len(r.Dropped))
		}
		for _, o := range r.Objects {
			if got := c.text[o.Start:o.End]; !strings.HasPrefix(got, "<loc") || !strings.HasSuffix(got, o.Label) || got != strings.TrimSpace(got) {
				t.Errorf("%q: object %q lies at %q", c.text, o.Label, got)
			}
		}
	}
}

func TestParseNoteCoversLabel(t *testing.T) {
	r := Parse("<loc0001><loc0002> black cat ; x", 10, 10)
	if len(r.Dropped) != 2 || r.Dropped[0].Text != "<loc0001><loc0002> black cat" || r.Dropped[1].Text != "x" {
		t.Errorf("%+v", r.Dropped)
	}
	if got, want := r.Dropped[1].String(), `text without a box at byte 31: "x"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	long := Note{Text: strings.Repeat("a", 1000)}
	if len(long.String()) > 200 {
		t.Errorf("a long note is %d bytes", len(long.String()))
	}
}

func TestParseCoordinates(t *testing.T) {
	r := Parse("<loc0341><loc0000><loc0682><loc1023>"+codes+" cat", 640, 480)
	o := r.Objects[0]
	wantNorm := [4]float64{0, 341 / 1023.0, 1, 682 / 1023.0}
	wantBox := [4]float64{0, 160, 640, 320}
	for i := range 4 {
		if math.Abs(o.Box[i]-wantBox[i]) > 1e-9 || math.Abs(o.Normalized[i]-wantNorm[i]) > 1e-12 {
			t.Fatalf("box %v %v, want %v %v", o.Box, o.Normalized, wantBox, wantNorm)
		}
	}
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 127}; !reflect.DeepEqual(o.Codes, want) {
		t.Errorf("codes %v", o.Codes)
	}
	for _, size := range [][2]int{{0, 0}, {-5, 3}} {
		o := Parse(box1, size[0], size[1]).Objects[0]
		if o.Box[2] != 0 || o.Normalized[2] != 1 {
			t.Errorf("size %v: %+v", size, o)
		}
	}
}

// sameObject compares what objects are, not where they lie.
func sameObject(a, b Object) bool {
	a.Start, a.End, b.Start, b.End = 0, 0, 0, 0
	return reflect.DeepEqual(a, b)
}

// TestBoxTokensRoundTrip: what BoxTokens writes, Parse reads back to the bin.
func TestBoxTokensRoundTrip(t *testing.T) {
	for v := range 1024 {
		text := fmt.Sprintf("<loc%04d><loc%04d><loc%04d><loc%04d>", v, 1023-v, v/2, v/3)
		o := Parse(text, 641, 77).Objects[0]
		if got := BoxTokens(o.Box, 641, 77); got != text {
			t.Fatalf("%s came back as %s", text, got)
		}
	}
}

// TestParseLinear: ten megabytes of the worst kinds within seconds, with few notes.
func TestParseLinear(t *testing.T) {
	for _, piece := range []string{"<loc0001>", "<loc0001>;", box1, "<", ";", "<loc", "a", " ", box1 + " ", "<seg001>", "a;", box1 + codes, "&lt;", "；", ",", box1 + ","} {
		text := strings.Repeat(piece, 10<<20/len(piece))
		start := time.Now()
		r := Parse(text, 640, 480)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%q repeated takes %v", piece, took)
		}
		if len(r.Doubts) > maxNotes || len(r.Dropped) > maxNotes {
			t.Errorf("%q repeated gives %d and %d notes", piece, len(r.Doubts), len(r.Dropped))
		}
		if piece == "<loc0001>;" && r.DroppedCount != len(text)/len(piece) {
			t.Errorf("%d dropped, want %d", r.DroppedCount, len(text)/len(piece))
		}
		if piece == box1 && len(r.Objects) != len(text)/len(piece) {
			t.Errorf("%d objects, want %d", len(r.Objects), len(text)/len(piece))
		}
	}
}

// FuzzParse: no panic; boxes inside the image; codes whole and in range; writing
// the objects in the model's form and parsing again gives them back.
func FuzzParse(f *testing.F) {
	for _, g := range maskGoldens(f) {
		f.Add(g.Text, g.Width, g.Height)
	}
	f.Add(box1+" cat ; "+box2+" dog", 640, 480)
	f.Add("<loc0001><loc0002>"+box1+codes[:100]+"<seg128> x <eos>", 1, 1)
	f.Add(codes+box1+"\t"+codes+codes+"; a < b;", 0, -1)
	f.Fuzz(func(t *testing.T, text string, w, h int) {
		r := Parse(text, w, h)
		var again []string
		for _, o := range r.Objects {
			for i, size := range [4]int{w, h, w, h} {
				if !(o.Box[i] >= 0 && o.Box[i] <= float64(max(size, 0))) || !(o.Normalized[i] >= 0 && o.Normalized[i] <= 1) {
					t.Fatalf("box %v %v outside of %d×%d", o.Box, o.Normalized, w, h)
				}
			}
			if !strings.Contains(text, o.Label) || o.Label != strings.Trim(o.Label, " \t\r\n\v\f") || strings.HasSuffix(o.Label, ",") {
				t.Fatalf("label %q", o.Label)
			}
			s := BoxTokens([4]float64{o.Normalized[0], o.Normalized[1], o.Normalized[2], o.Normalized[3]}, 1, 1)
			if o.Codes != nil {
				if len(o.Codes) != numCodes || slices.Max(o.Codes) > maxSeg || slices.Min(o.Codes) < 0 {
					t.Fatalf("codes %v", o.Codes)
				}
				for _, c := range o.Codes {
					s += fmt.Sprintf("<seg%03d>", c)
				}
			}
			again = append(again, s+" "+o.Label)
		}
		back := Parse(strings.Join(again, " ; "), w, h)
		if back.DroppedCount != 0 || !slices.EqualFunc(back.Objects, r.Objects, sameObject) {
			t.Fatalf("%q: %+v came back as %+v, %v", text, r.Objects, back.Objects, back.Dropped)
		}
		for _, n := range notes(r) {
			if text[n.Offset:n.Offset+len(n.Text)] != n.Text || len(n.String()) > 1000 {
				t.Fatalf("note %+v", n)
			}
		}
	})
}
