package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/quote"
)

// hostile steers a terminal in every way: C0, C1, DEL, direction, tags, line
// separators, bytes that are not UTF-8.
const hostile = "\x1b]0;t\x07\u009b31m\x7f\u202e\u2066\u200e\u2028\u200b\U000e0041\xff"

// hostileFiles writes files with hostile names and contents.
func hostileFiles(t *testing.T) (dir, image, model, checkpoint string) {
	t.Helper()
	dir = t.TempDir()
	name := strings.ReplaceAll(hostile, "\xff", "")
	image, model, checkpoint = filepath.Join(dir, name+".png"), filepath.Join(dir, name+".gguf"), filepath.Join(dir, name)
	picture, err := os.ReadFile(filepath.Join(fixture(t, "IMAGES"), "scene.png"))
	if err != nil {
		t.Fatal(err)
	}
	var w gguf.Writer
	w.SetString("general.architecture", name)
	w.SetString("key"+name, name)
	var b bytes.Buffer
	err = errors.Join(
		w.Encode(&b, nil),
		os.WriteFile(model, b.Bytes(), 0o600),
		os.WriteFile(image, picture, 0o600),
		os.Mkdir(checkpoint, 0o700),
		os.WriteFile(filepath.Join(checkpoint, "config.json"), []byte(`{"model_type": "`+"\u009b\u202e"+`"}`), 0o600),
	)
	if err != nil {
		t.Skipf("this file system has no such names: %v", err)
	}
	return dir, image, model, checkpoint
}

// Nothing that any command writes steers a terminal.
func TestTerminalSafe(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	dir, image, other, checkpoint := hostileFiles(t)
	m := fixture(t, "MODEL")
	requests := filepath.Join(dir, "requests.jsonl")
	line, err := json.Marshal(map[string]string{"image": image, "prompt": "detect " + hostile})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(requests, append(line, "\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	box := "<loc0000><loc0000><loc0500><loc0500> "
	for _, args := range [][]string{
		{"caption", image, "-m", m, "--max-tokens", "12"},
		{"caption", image, image, "-m", m, "--max-tokens", "12", "-v", "--timings"},
		{"caption", image, "-m", m, "--temperature", "5", "--seed", "3", "--max-tokens", "200"},
		{"caption", image + hostile, image, "-m", m, "--max-tokens", "2"},
		{"caption", image, "-m", other},
		{"vqa", image, "-m", m, "--prompt", hostile, "--max-tokens", "9"},
		{"vqa", image, "-m", m, "--prompt", "x", "--choices", hostile + ",b"},
		{"ocr", image, "-m", m, "--scores", "--max-tokens", "20"},
		{"detect", hostile, image, image, "-m", m, "-v", "--max-tokens", "40"},
		{"segment", hostile, image, "-m", m, "-v", "--max-tokens", "40"},
		{"generate", "--prompt", hostile, "-m", m, "--beams", "2", "--num-return", "2", "--max-tokens", "9"},
		{"generate", "--requests", requests, "-m", m, "--max-tokens", "9"},
		{"score", image, "-m", m, "--prompt", hostile, "--suffix", hostile},
		{"parse", box + hostile + " ; " + hostile, "--size", "9x9", "-v"},
		{"parse", box + hostile, "--image", image, "--draw", filepath.Join(dir, hostile+".png"), "--overwrite"},
		{"parse", "x", "--size", hostile},
		{"forward", image, "-m", m, "--prompt", hostile, "-o", filepath.Join(dir, strings.ReplaceAll(hostile, "\xff", "")), "--overwrite"},
		{"convert", checkpoint, filepath.Join(dir, "out.gguf")},
		{"convert", fixture(t, "CHECKPOINT"), filepath.Join(dir, strings.ReplaceAll(hostile, "\xff", "")+"x"), "--type", "f32", "--overwrite"},
		{"quantize", other, filepath.Join(dir, "q.gguf"), "--type", "q8_0"},
		{"inspect", other},
		{"inspect", checkpoint},
		{"inspect", image + hostile},
		{"bench", "-m", m, "--repetitions", "1", "--no-probe"},
		{"devices"}, {"version"}, {"help"}, {"detect", "--help"},
		{"completion", "bash"}, {"completion", "zsh"}, {"completion", "fish"}, {"completion", "powershell"}, {"completion", hostile},
		{hostile}, {"help", hostile}, {"caption", "--" + hostile}, {"caption", "--max-tokens", hostile}, {"caption", "--style", hostile, image},
		{"__complete", "caption", "--style", hostile},
	} {
		for _, format := range []string{formatText, formatJSON, formatJSONL} {
			args := append(args[:len(args):len(args)], "--format", format)
			if args[0] == "__complete" {
				args = args[:4]
			}
			var out, errs bytes.Buffer
			Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs, OutTTY: true, ErrTTY: true})
			// Progress bars return to the beginning of their line, and messages are colored.
			own := strings.NewReplacer("\r", "", styleError, "", styleDim, "", styleBold, "", styleEnd, "")
			for name, text := range map[string]string{"stdout": own.Replace(out.String()), "stderr": own.Replace(errs.String())} {
				if quote.Terminal(text) != text {
					t.Errorf("%q: %s: %q", args, name, text)
				}
			}
		}
	}
}

// JSON on a terminal is the JSON of a file, where nothing is escaped that JSON
// lets through.
func TestTerminalJSON(t *testing.T) {
	args := []string{"parse", "<loc0000><loc0000><loc0500><loc0500> " + hostile, "--size", "9x9", "--format", "json"}
	_, file, _ := runArgs(t, t.Context(), false, args...)
	_, terminal, _ := runArgs(t, t.Context(), true, args...)
	for _, part := range []string{"\u009b", "\u202e", "\U000e0041"} {
		if !strings.Contains(file, part) {
			t.Errorf("%q to a file: %q", part, file)
		}
	}
	for _, part := range []string{`\u009b31m\u007f\u202e`, `\udb40\udc41`, `\u001b`} {
		if !strings.Contains(terminal, part) {
			t.Errorf("%q to a terminal: %q", part, terminal)
		}
	}
	var a, b any
	if err := errors.Join(json.Unmarshal([]byte(file), &a), json.Unmarshal([]byte(terminal), &b)); err != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("%v and %v, %v", a, b, err)
	}
}

// What is no terminal gets the bytes that were written.
func TestNoTerminal(t *testing.T) {
	args := []string{"parse", "<loc0000><loc0000><loc0500><loc0500> \x1bz\u009b\xff", "--size", "1023x1023"}
	if _, out, _ := runArgs(t, t.Context(), false, args...); out != "\x1bz\u009b\xff\t0.0\t0.0\t500.0\t500.0\n" {
		t.Errorf("%q", out)
	}
	if code := Run(t.Context(), args, Streams{Out: closedPipe{}, Err: io.Discard, OutTTY: true}); code != exitOK {
		t.Errorf("a closed pipe ends with %d", code)
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Whatever it is about, a message is a short line that says what and what to do.
func TestMessageLength(t *testing.T) {
	for _, text := range []string{"x", strings.Repeat("x", 10_000), strings.Repeat("\u009b", 10_000), strings.Repeat("日", 10_000), strings.Repeat("\xff\n", 10_000)} {
		var errs bytes.Buffer
		a := &app{Streams: Streams{Err: &errs}}
		a.complain(errors.New("begin " + text + " end"))
		got := errs.String()
		if len(got) > 500 || strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "paligemma: begin ") || !strings.HasSuffix(got, " end\n") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}
