package fetch

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"paligemma/internal/result"
)

func fetcher(t testing.TB, o Options) *Fetcher {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// wantCode fails a test unless an error has a code and says something.
func wantCode(t *testing.T, err error, code, says string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s: %s", code, says)
	}
	if got := result.Code(err); got != code || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %q, want %s: %q", got, err, code, says)
	}
	if len(err.Error()) > 500 {
		t.Errorf("the message has %d bytes", len(err.Error()))
	}
}

func TestData(t *testing.T) {
	bytesOf := func(s string) []byte { return []byte(s) }
	for name, c := range map[string]struct {
		uri  string
		want []byte
	}{
		"base64":                          {"data:image/png;base64,aGVsbG8=", bytesOf("hello")},
		"no padding":                      {"data:image/png;base64,aGVsbG8", bytesOf("hello")},
		"capital letters":                 {"DATA:IMAGE/PNG;BASE64,aGVsbG8=", bytesOf("hello")},
		"parameters":                      {`data:text/plain;charset=utf-8;name="a";base64,aGVsbG8=`, bytesOf("hello")},
		"no type":                         {"data:;base64,aGVsbG8=", bytesOf("hello")},
		"nothing before the comma":        {"data:,hello", bytesOf("hello")},
		"percent signs":                   {"data:text/plain,h%65llo%00%ff", []byte("hello\x00\xff")},
		"a plus stays one":                {"data:,a+b", bytesOf("a+b")},
		"base64 with percent signs":       {"data:image/png;base64,aGVsbG8%3D", bytesOf("hello")},
		"base64 with space":               {"data:image/png;base64,aGVs\r\nbG 8=\t", bytesOf("hello")},
		"base64 with a plus and slashes":  {"data:;base64,+/+/", []byte{0xfb, 0xff, 0xbf}},
		"the comma is the first":          {"data:,a,b", bytesOf("a,b")},
		"empty":                           {"data:,", nil},
		"a parameter that is like base64": {"data:text/plain;base64x,aGVs", bytesOf("aGVs")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := fetcher(t, Options{}).Read(t.Context(), c.uri)
			if err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestDataErrors(t *testing.T) {
	for name, c := range map[string]struct{ uri, code, says string }{
		"no comma":              {"data:image/png;base64", result.CodeInvalid, "comma"},
		"not base64":            {"data:;base64,!!!!", result.CodeInvalid, "not base64"},
		"one letter too many":   {"data:;base64,aGVsb", result.CodeInvalid, "not base64"},
		"padding in the middle": {"data:;base64,aGV=sbG8", result.CodeInvalid, "not base64"},
		"a lone percent sign":   {"data:,50%", result.CodeInvalid, "malformed"},
		"and in base64":         {"data:;base64,50%", result.CodeInvalid, "malformed"},
		"too large":             {"data:;base64," + strings.Repeat("A", 136), result.CodeTooLarge, "more than the limit of 100 B"},
		"too large, raw":        {"data:," + strings.Repeat("A", 101), result.CodeTooLarge, "more than the limit"},
		"too large, percent":    {"data:," + strings.Repeat("%41", 101), result.CodeTooLarge, "more than the limit"},
		"a long wrong one":      {"data:," + strings.Repeat("A", 50) + "%" + strings.Repeat("ä", 10), result.CodeInvalid, "malformed"},
		"no scheme":             {"aGVsbG8=", result.CodeInvalid, "want a picture as data:"},
		"another scheme":        {"ftp://example.org/a.png", result.CodeInvalid, "want a picture as data:"},
		"empty":                 {"", result.CodeInvalid, "want a picture as data:"},
		"https is off":          {"https://example.org/a.png", result.CodeInvalid, "--allow-remote"},
		"http is off":           {"http://example.org/a.png", result.CodeInvalid, "want a picture as data:"},
		"files are off":         {"file:///etc/passwd", result.CodeInvalid, "--media-path"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fetcher(t, Options{MaxBytes: 100}).Read(t.Context(), c.uri)
			wantCode(t, err, c.code, c.says)
		})
	}
	t.Run("as large as may be", func(t *testing.T) {
		text := base64.StdEncoding.EncodeToString(make([]byte, 100))
		for _, uri := range []string{"data:;base64," + text, "data:;base64," + strings.ReplaceAll(text, "=", "%3D"), "data:," + strings.Repeat("%00", 100)} {
			if got, err := fetcher(t, Options{MaxBytes: 100}).Read(t.Context(), uri); len(got) != 100 {
				t.Errorf("%d bytes, %v, want 100", len(got), err)
			}
		}
	})
}

// TestLargeBase64: what is too large is refused before it is decoded.
func TestLargeBase64(t *testing.T) {
	f := fetcher(t, Options{})
	uri := "data:image/png;base64," + strings.Repeat("AAAA", (65<<20)/3)
	var err error
	allocations := testing.AllocsPerRun(1, func() { _, err = f.Read(t.Context(), uri) })
	wantCode(t, err, result.CodeTooLarge, "more than the limit of 67.1 MB")
	if allocations > 20 {
		t.Errorf("%v allocations", allocations)
	}
}

// media makes a folder of pictures with what is in it and around it.
func media(t *testing.T) (dir, outside string) {
	t.Helper()
	top := t.TempDir()
	dir, outside = filepath.Join(top, "media"), filepath.Join(top, "secret")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "a b.png"), []byte("picture"), 0o600),
		os.WriteFile(filepath.Join(dir, "sub", "c.png"), []byte("another"), 0o600),
		os.WriteFile(filepath.Join(dir, "large"), make([]byte, 101), 0o600),
		os.WriteFile(outside, []byte("secret"), 0o600),
		os.Symlink(outside, filepath.Join(dir, "link")),
		os.Symlink("../secret", filepath.Join(dir, "relative")),
		os.Symlink(top, filepath.Join(dir, "sub", "up")),
		os.Symlink("a b.png", filepath.Join(dir, "inner")),
		os.Symlink("round", filepath.Join(dir, "round")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir, outside
}

func TestFile(t *testing.T) {
	dir, outside := media(t)
	f := fetcher(t, Options{Media: dir, MaxBytes: 100})
	at := "file://" + filepath.ToSlash(dir)
	for name, c := range map[string]struct{ address, want string }{
		"a file":           {at + "/a%20b.png", "picture"},
		"localhost":        {"file://localhost" + dir + "/a%20b.png", "picture"},
		"one below":        {at + "/sub/c.png", "another"},
		"there and back":   {at + "/sub/../a%20b.png", "picture"},
		"many slashes":     {at + "//sub//c.png", "another"},
		"a link within":    {at + "/inner", "picture"},
		"capitals":         {"FILE://" + dir + "/inner", "picture"},
		"an open question": {at + "/inner?x=1#y", "picture"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := f.Read(t.Context(), c.address); err != nil || string(got) != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
	for name, c := range map[string]struct{ address, code, says string }{
		"outside":                 {"file://" + outside, result.CodeInvalid, "outside the folder"},
		"outside, absent":         {"file://" + outside + "-none", result.CodeInvalid, "outside the folder"},
		"dots":                    {at + "/../secret", result.CodeInvalid, "outside the folder"},
		"dots in percent":         {at + "/%2e%2e/secret", result.CodeInvalid, "outside the folder"},
		"slashes in percent":      {at + "/..%2fsecret", result.CodeInvalid, "outside the folder"},
		"percent twice":           {at + "/%252e%252e/secret", result.CodeNotFound, "no such file"},
		"a folder that begins so": {at + "2/a.png", result.CodeInvalid, "outside the folder"},
		"the folder itself":       {at, result.CodeInvalid, "outside the folder"},
		"a folder":                {at + "/sub", result.CodeUnreadable, "not a regular file"},
		"a link out of it":        {at + "/link", result.CodeInvalid, "leads outside"},
		"a relative link":         {at + "/relative", result.CodeInvalid, "leads outside"},
		"a link to a folder":      {at + "/sub/up/secret", result.CodeInvalid, "leads outside"},
		"a link to itself":        {at + "/round", result.CodeUnreadable, "symbolic links"},
		"a pipe":                  {at + "/pipe", result.CodeUnreadable, "not a regular file"},
		"a missing one":           {at + "/none.png", result.CodeNotFound, "no such file"},
		"too large":               {at + "/large", result.CodeTooLarge, "more than the limit"},
		"another machine":         {"file://example.org/a.png", result.CodeInvalid, "another machine"},
		"no slashes":              {"file:a.png", result.CodeInvalid, "malformed"},
		"a zero byte":             {at + "/a%00.png", result.CodeInvalid, "malformed"},
		"bad percent":             {at + "/%zz", result.CodeInvalid, "malformed"},
		"relative":                {"file:///a%20b.png", result.CodeInvalid, "outside the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.Read(t.Context(), c.address)
			wantCode(t, err, c.code, c.says)
			if strings.Contains(err.Error(), outside) {
				t.Errorf("the message names what lies outside: %q", err)
			}
		})
	}
}

func TestMediaPath(t *testing.T) {
	if _, err := New(Options{Media: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want an error", err)
	}
	t.Run("a name with strange letters", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a%2f ä?")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "x"), []byte("picture"), 0o600); err != nil {
			t.Fatal(err)
		}
		address := url.URL{Scheme: "file", Path: dir + "/x"}
		if got, err := fetcher(t, Options{Media: dir}).Read(t.Context(), address.String()); string(got) != "picture" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("all there is", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(file, []byte("picture"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := fetcher(t, Options{Media: "/"}).Read(t.Context(), "file://"+file); string(got) != "picture" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// FuzzData decodes data: URIs.
func FuzzData(f *testing.F) {
	for _, seed := range []string{
		"data:image/png;base64,aGVsbG8=", "data:,a%20b", "data:;base64,aGVs%0A bG8", "data:;base64", "data:,%", "DATA:text/plain;charset=x;base64,=", "file:///x", "https://127.1/",
	} {
		f.Add(seed)
	}
	const most = 64
	fetch := fetcher(f, Options{MaxBytes: most})
	f.Fuzz(func(t *testing.T, uri string) {
		data, err := fetch.Read(context.Background(), uri)
		if err != nil {
			var request result.RequestError
			var image result.ImageError
			if !errors.As(err, &request) && !errors.As(err, &image) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if len(data) > most || len(data) > len(uri) {
			t.Fatalf("%d bytes of %d", len(data), len(uri))
		}
		again, err := fetch.Read(context.Background(), "data:;base64,"+base64.StdEncoding.EncodeToString(data))
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q is %q after encoding it: %v", data, again, err)
		}
	})
}
