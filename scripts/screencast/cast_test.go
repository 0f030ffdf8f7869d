package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestWrap(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", []string{""}},
		{"abcd", []string{"abcd"}},
		{"abcde", []string{"abcd", "e"}},
		{"áéíóúáéíó", []string{"áéíó", "úáéí", "ó"}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			if got := wrap(tt.text, 4); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	for text, want := range map[string]string{"a\tb": "a       b", "\tb": "        b", "12345678\tb": "12345678        b", "ab": "ab"} {
		t.Run(text, func(t *testing.T) {
			if got := expand(text); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// What is typed and printed is in the file, as well-formed XML.
func TestSVG(t *testing.T) {
	c := &cast{}
	c.typed(`paligemma detect "a & b" <x>`)
	c.printed("a\t1\n\n<b>")
	c.pictures = []picture{{0, "x.jpg", 4, 3, "AAAA"}}
	c.wait(rest)
	text := characters(t, c.svg())
	for _, want := range []string{`$ paligemma detect "a & b" <x>`, "a       1", "<b>", "x.jpg"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}

// The screencast of the documentation needs nothing but itself.
func TestTour(t *testing.T) {
	data, err := os.ReadFile("../../docs/images/tour.svg")
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > maxBytes {
		t.Errorf("%d bytes, want at most %d", len(data), maxBytes)
	}
	text := characters(t, data)
	for _, s := range steps {
		for _, part := range wrap("$ "+s.command, columns) {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not in it: make docs", part)
			}
		}
	}
}

// characters parses an SVG that names no other file and returns its text.
func characters(t *testing.T, data []byte) string {
	t.Helper()
	var text strings.Builder
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.CharData:
			text.Write(x)
		case xml.StartElement:
			for _, a := range x.Attr {
				if (a.Name.Local == "href" || a.Name.Local == "src") && !strings.HasPrefix(a.Value, "data:") {
					t.Errorf("<%s> names %s", x.Name.Local, a.Value)
				}
			}
		}
	}
}
