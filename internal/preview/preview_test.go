package preview

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// picture is a picture with a color gradient and a transparent corner.
func picture(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x * 255 / w), uint8(y * 255 / h), 100, 255})
		}
	}
	img.SetNRGBA(0, 0, color.NRGBA{})
	return img
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name, env string
		want      Protocol
	}{
		{"nothing", "", None},
		{"kitty", "TERM=xterm-kitty KITTY_WINDOW_ID=1", Kitty},
		{"kitty by ssh", "TERM=xterm-kitty", Kitty},
		{"kitty with another TERM", "TERM=xterm-256color KITTY_WINDOW_ID=1", Kitty},
		{"ghostty", "TERM=xterm-ghostty TERM_PROGRAM=ghostty", Kitty},
		{"ghostty with another TERM", "TERM=xterm-256color TERM_PROGRAM=ghostty", Kitty},
		{"iTerm2", "TERM=xterm-256color TERM_PROGRAM=iTerm.app", ITerm2},
		{"iTerm2 by ssh", "TERM=xterm-256color LC_TERMINAL=iTerm2", ITerm2},
		{"WezTerm", "TERM=xterm-256color TERM_PROGRAM=WezTerm WEZTERM_PANE=0", ITerm2},
		{"WezTerm from kitty", "TERM=xterm-256color TERM_PROGRAM=WezTerm KITTY_WINDOW_ID=1", ITerm2},
		{"mintty", "TERM=xterm TERM_PROGRAM=mintty", ITerm2},
		{"Konsole", "TERM=xterm-256color KONSOLE_VERSION=230801", Kitty},
		{"old Konsole", "TERM=xterm-256color KONSOLE_VERSION=210800", None},
		{"foot", "TERM=foot", Sixel},
		{"foot-extra", "TERM=foot-extra", Sixel},
		{"mlterm", "TERM=xterm MLTERM=3.9.0", Sixel},
		{"xterm", "TERM=xterm-256color", None},
		{"GNOME Terminal from kitty", "TERM=xterm-256color VTE_VERSION=7006 KITTY_WINDOW_ID=1", None},
		{"Apple's", "TERM=xterm-256color TERM_PROGRAM=Apple_Terminal", None},
		{"VS Code from ghostty", "TERM=xterm-256color TERM_PROGRAM=vscode GHOSTTY_RESOURCES_DIR=/x", None},
		{"tmux in kitty", "TERM=tmux-256color TMUX=/tmp/x,1,0 KITTY_WINDOW_ID=1", None},
		{"tmux in iTerm2", "TERM=screen-256color TMUX=/tmp/x,1,0 LC_TERMINAL=iTerm2", None},
		{"tmux with another TERM", "TERM=xterm-256color TMUX=/tmp/x,1,0 KITTY_WINDOW_ID=1", None},
		{"screen", "TERM=screen.xterm-kitty STY=1.pts KITTY_WINDOW_ID=1", None},
		{"Zellij", "TERM=xterm-kitty ZELLIJ=0 KITTY_WINDOW_ID=1", None},
		{"tmux by ssh", "TERM=tmux-256color LC_TERMINAL=iTerm2", None},
		{"dumb", "TERM=dumb KITTY_WINDOW_ID=1", None},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := map[string]string{}
			for _, pair := range strings.Fields(c.env) {
				name, value, _ := strings.Cut(pair, "=")
				env[name] = value
			}
			if got := Detect(func(name string) string { return env[name] }); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestNotATerminal: a file or a pipe gets no picture, whatever the environment says.
func TestNotATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm-kitty")
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, out := range []*os.File{f, w} {
		if _, ok := Open(out); ok {
			t.Errorf("%s is a terminal", out.Name())
		}
	}
}

func shown(t *testing.T, img image.Image, p Protocol, size Size) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, img, p, size); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func decode(t *testing.T, data string) image.Image {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func same(t *testing.T, got, want image.Image) {
	t.Helper()
	if got.Bounds().Size() != want.Bounds().Size() {
		t.Fatalf("%v, want %v", got.Bounds(), want.Bounds())
	}
	for y := range want.Bounds().Dy() {
		for x := range want.Bounds().Dx() {
			if g, w := color.NRGBAModel.Convert(got.At(x, y)), color.NRGBAModel.Convert(want.At(x, y)); g != w {
				t.Fatalf("pixel %d, %d is %v, want %v", x, y, g, w)
			}
		}
	}
}

// TestKitty: the chunks are the picture, each small enough, all but the last with more
// to come.
func TestKitty(t *testing.T) {
	img := picture(300, 200)
	for i := range img.Pix { // does not compress
		img.Pix[i] ^= byte(i * i * 7919 >> 5)
	}
	text := shown(t, img, Kitty, Size{200, 50, 2000, 1000})
	parts := regexp.MustCompile("\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\\\").FindAllStringSubmatch(text, -1)
	var data, all strings.Builder
	for i, p := range parts {
		all.WriteString(p[0])
		data.WriteString(p[2])
		more := "m=1"
		if i == len(parts)-1 {
			more = "m=0"
		}
		if !strings.HasSuffix(p[1], ","+more) || !strings.Contains(p[1], "q=2") || strings.Contains(p[1], "a=T,f=100") != (i == 0) {
			t.Errorf("chunk %d of %d has %q", i, len(parts), p[1])
		}
		if len(p[2]) > 4096 || more == "m=1" && len(p[2])%4 != 0 {
			t.Errorf("chunk %d has %d bytes", i, len(p[2]))
		}
	}
	if len(parts) < 2 || all.String()+"\n" != text {
		t.Errorf("%d chunks, and more", len(parts))
	}
	same(t, decode(t, data.String()), img)
}

func TestITerm2(t *testing.T) {
	img := picture(33, 20)
	text := shown(t, img, ITerm2, Size{80, 24, 800, 480})
	m := regexp.MustCompile("^\x1b]1337;File=inline=1;size=(\\d+);width=4;height=1;preserveAspectRatio=1:([A-Za-z0-9+/=]*)\a\n$").FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%.200q", text)
	}
	if n, _ := strconv.Atoi(m[1]); n != base64.StdEncoding.DecodedLen(len(m[2]))-strings.Count(m[2], "=") {
		t.Errorf("size=%s for %d bytes of base64", m[1], len(m[2]))
	}
	same(t, decode(t, m[2]), img)
}

// readSixel decodes what sixel writes, as strictly as a terminal may.
func readSixel(t *testing.T, text string) *image.NRGBA {
	t.Helper()
	var w, h int
	text, ok := strings.CutSuffix(text, "\x1b\\\n")
	if n, err := fmt.Sscanf(text, "\x1bP0;1;0q\"1;1;%d;%d", &w, &h); n != 2 || err != nil || !ok {
		t.Fatalf("%.100q", text)
	}
	text = text[strings.IndexByte(text, '#'):]
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	colors := map[int]color.NRGBA{}
	var current color.NRGBA
	x, y := 0, 0
	for _, token := range regexp.MustCompile(`#\d+(;2;\d+;\d+;\d+)?|!\d+[?-~]|[?-~]|[$-]|.`).FindAllString(text, -1) {
		n, sixels := 1, token
		switch token[0] {
		case '#':
			var i, r, g, b int
			if k, _ := fmt.Sscanf(token, "#%d;2;%d;%d;%d", &i, &r, &g, &b); k == 4 {
				colors[i] = color.NRGBA{uint8(r * 255 / 100), uint8(g * 255 / 100), uint8(b * 255 / 100), 255}
			} else if current, ok = colors[i]; !ok {
				t.Fatalf("color %d is not defined", i)
			}
			continue
		case '$':
			x = 0
			continue
		case '-':
			x, y = 0, y+6
			continue
		case '!':
			n, _ = strconv.Atoi(token[1 : len(token)-1])
			sixels = token[len(token)-1:]
		}
		if len(sixels) != 1 || sixels[0] < '?' || sixels[0] > '~' {
			t.Fatalf("%q in sixels", token)
		}
		for ; n > 0; n-- {
			for dy := range 6 {
				if (sixels[0]-'?')>>dy&1 == 1 {
					if x >= w || y+dy >= h {
						t.Fatalf("pixel %d, %d of %d×%d", x, y+dy, w, h)
					}
					img.SetNRGBA(x, y+dy, current)
				}
			}
			x++
		}
	}
	return img
}

// TestSixel: sixels decode to about the picture, every pixel set.
func TestSixel(t *testing.T) {
	for _, size := range []image.Point{{1, 1}, {7, 5}, {60, 12}, {61, 47}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			want := picture(size.X, size.Y)
			got := readSixel(t, shown(t, want, Sixel, Size{80, 24, 800, 480}))
			if got.Rect.Size() != size {
				t.Fatalf("%v", got.Rect)
			}
			sum := 0
			for i := range got.Pix {
				if i%4 == 3 && got.Pix[i] != 255 {
					t.Fatalf("pixel %d is not set", i/4)
				}
				sum += int(got.Pix[i]) - int(want.Pix[i])
			}
			if mean := float64(sum) / float64(len(got.Pix)); size.X > 50 && (mean < -4 || mean > 4) {
				t.Errorf("the mean is %.1f off", mean)
			}
		})
	}
}

// TestScale: a picture is never larger than the window, than it is, or than is sensible.
func TestScale(t *testing.T) {
	for _, c := range []struct {
		name string
		w, h int
		size Size
		want image.Point
	}{
		{"small", 24, 24, Size{80, 24, 800, 480}, image.Pt(24, 24)},
		{"wide", 1600, 100, Size{80, 24, 800, 480}, image.Pt(800, 50)},
		{"high", 100, 880, Size{80, 24, 800, 480}, image.Pt(50, 440)},
		{"no pixels known", 1280, 10, Size{80, 24, 0, 0}, image.Pt(640, 5)},
		{"nothing known", 1280, 10, Size{}, image.Pt(640, 5)},
		{"nonsense", 1280, 10, Size{80, 24, 1, 60000}, image.Pt(640, 5)},
		{"no width", 1280, 10, Size{80, 24, 0, 480}, image.Pt(640, 5)},
		{"huge cells", 1280, 10, Size{80, 24, 800, 60000}, image.Pt(640, 5)},
		{"a line", 10000, 1, Size{80, 24, 800, 480}, image.Pt(800, 1)},
		{"one row", 100, 100, Size{80, 1, 800, 20}, image.Pt(20, 20)},
		{"a wall", 4000, 4000, Size{2000, 2000, 20000, 20000}, image.Pt(1024, 1024)},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := scale(image.NewNRGBA(image.Rect(3, 4, 3+c.w, 4+c.h)), c.size.known())
			if got := img.Bounds().Size(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// full is a terminal that is gone.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errGone }

var errGone = errors.New("gone")

func TestWriteErrors(t *testing.T) {
	if err := Write(full{}, picture(2, 2), Kitty, Size{}); !errors.Is(err, errGone) {
		t.Errorf("%v", err)
	}
	if err := Write(full{}, image.NewNRGBA(image.Rectangle{}), Kitty, Size{}); err == nil || errors.Is(err, errGone) {
		t.Errorf("a picture without pixels: %v", err)
	}
	if err := Write(full{}, picture(2, 2), None, Size{}); err == nil || errors.Is(err, errGone) {
		t.Errorf("no protocol: %v", err)
	}
}
