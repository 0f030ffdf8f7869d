// Command screencast runs a few commands of paligemma on a drawn scene and
// writes what they print, and the pictures that they draw, as an animated SVG.
//
//	go run ./scripts/screencast bin/paligemma testdata/scenes docs/images/tour.svg
//
// The file needs nothing else: text in the viewer's monospaced font, CSS for
// the animation, JPEGs as data. Whoever asks for reduced motion, and programs
// that do not animate, see the last frame.
package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// step is a command of the screencast.
type step struct {
	command string
	picture string // the file to show once it has run, or empty
}

var steps = []step{
	{`paligemma caption shapes.jpg`, ""},
	{`paligemma vqa shapes.jpg --prompt "what color is the square?"`, ""},
	{`paligemma detect "square ; cross ; circle" shapes.jpg --draw boxes.jpg`, "boxes.jpg"},
	{`paligemma segment cross shapes.jpg --draw mask.jpg | cut -f 1-5`, "mask.jpg"},
	{`paligemma caption shapes.jpg --lang es`, ""},
}

// before is the picture that is shown from the start.
const before = "shapes.jpg"

// maxBytes is the largest file that is written.
const maxBytes = 300_000

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: screencast BINARY SCENES OUT.svg")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "screencast:", err)
		os.Exit(1)
	}
}

func run(binary, scenes, out string) (err error) {
	dir, err := os.MkdirTemp("", "screencast-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(dir, os.DirFS(scenes)); err != nil {
		return err
	}
	c, err := record(binary, dir)
	if err != nil {
		return err
	}
	svg := c.svg()
	if len(svg) > maxBytes {
		return fmt.Errorf("%d bytes are more than %d", len(svg), maxBytes)
	}
	return os.WriteFile(out, svg, 0o644)
}

// record runs the steps in dir.
func record(binary, dir string) (*cast, error) {
	bin, err := filepath.Abs(filepath.Dir(binary))
	if err != nil {
		return nil, err
	}
	c := &cast{}
	if err := c.show(dir, before); err != nil {
		return nil, err
	}
	for _, s := range steps {
		c.typed(s.command)
		var out, errs bytes.Buffer
		cmd := exec.Command("bash", "-o", "pipefail", "-c", s.command)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
		cmd.Env = append(environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "LC_ALL=C.UTF-8")
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", s.command, err, errs.String())
		}
		c.printed(strings.TrimSuffix(out.String(), "\n"))
		if s.picture != "" {
			if err := c.show(dir, s.picture); err != nil {
				return nil, err
			}
		}
		c.wait(pause)
	}
	c.wait(rest)
	return c, nil
}

// environ is the environment without settings of paligemma.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PALIGEMMA_") })
}

// show shows a JPEG from now on.
func (c *cast) show(dir, name string) error {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if format != "jpeg" {
		return fmt.Errorf("%s is a %s, want a JPEG", name, format)
	}
	c.pictures = append(c.pictures, picture{
		at: c.now, name: name, width: config.Width, height: config.Height,
		data: base64.StdEncoding.EncodeToString(data),
	})
	return nil
}
