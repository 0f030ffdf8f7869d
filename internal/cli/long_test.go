package cli

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/quote"
)

// long writes files in each of which something is text, and collects the command
// lines that read them.
type long struct {
	t        *testing.T
	dir      string
	text     string
	weights  []byte // of a checkpoint
	config   []byte
	commands map[string][]string
}

func (l *long) write(name string, data []byte) string {
	path := filepath.Join(l.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// js puts the text, quoted, in the place of TEXT.
func (l *long) js(format string) []byte {
	quoted, err := json.Marshal(l.text)
	if err != nil {
		l.t.Fatal(err)
	}
	return []byte(strings.ReplaceAll(format, "TEXT", string(quoted)))
}

// longFiles returns the command lines by what is long.
func longFiles(t *testing.T, text string) map[string][]string {
	t.Helper()
	l := &long{t: t, dir: t.TempDir(), text: text, commands: map[string][]string{}}
	var err1, err2 error
	l.weights, err1 = os.ReadFile(filepath.Join(fixture(t, "CHECKPOINT"), "model.safetensors"))
	l.config, err2 = os.ReadFile(filepath.Join(fixture(t, "CHECKPOINT"), "config.json"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	l.gguf()
	l.safetensors()
	l.index()
	l.configs()
	l.tokenizers()
	l.npz()
	l.requests()
	l.arguments()
	return l.commands
}

func (l *long) gguf() {
	scene := filepath.Join(fixture(l.t, "IMAGES"), "scene.png")
	model := func(name string, data []byte) {
		l.commands["gguf, "+name] = []string{"caption", scene, "-m", l.write(name+".gguf", data)}
	}
	var w gguf.Writer
	w.SetString("general.architecture", l.text)
	var b bytes.Buffer
	if err := w.Encode(&b, nil); err != nil {
		l.t.Fatal(err)
	}
	model("architecture", b.Bytes())
	model("magic", append([]byte("GGUX"), l.text...))
	for name, kinds := range map[string][]uint32{"type of a key": {99}, "array of a key": {9, 99}, "nested array of a key": {9, 9}, "key that is there twice": {0}} {
		head := append([]byte("GGUF"), 3, 0, 0, 0)
		head = binary.LittleEndian.AppendUint64(head, 0)
		head = binary.LittleEndian.AppendUint64(head, 2)
		key := l.text[:min(len(l.text), 60_000)]
		for range 2 {
			head = binary.LittleEndian.AppendUint64(head, uint64(len(key)))
			head = append(head, key...)
			for _, k := range kinds {
				head = binary.LittleEndian.AppendUint32(head, k)
			}
			head = append(head, 1)
		}
		model(name, append(head, make([]byte, 64)...))
	}
}

func (l *long) safetensors() {
	for name, header := range map[string]string{
		"name":     `{TEXT: {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}`,
		"twice":    `{TEXT: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, TEXT: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}`,
		"dtype":    `{"a": {"dtype": TEXT, "shape": [1], "data_offsets": [0, 4]}}`,
		"field":    `{"a": {TEXT: 1}}`,
		"shape":    `{"a": {"shape": [TEXT]}}`,
		"number":   `{"a": {"shape": [1` + strings.Repeat("1", len(l.text)) + `]}}`,
		"metadata": `{"__metadata__": {"a": 1, TEXT: TEXT}}`,
		"other":    `{"a": TEXT}`,
	} {
		data := l.js(header)
		path := l.write("st/"+name+".safetensors", append(binary.LittleEndian.AppendUint64(nil, uint64(len(data))), append(data, 0, 0, 0, 0)...))
		l.commands["safetensors, "+name] = []string{"inspect", path}
	}
}

func (l *long) index() {
	for name, index := range map[string]string{
		"shard":   `{"weight_map": {"a": TEXT}}`,
		"file":    `{"weight_map": {"a": "` + strings.Repeat("x", len(l.text)) + `.safetensors"}}`,
		"missing": `{"weight_map": {TEXT: "b.safetensors"}}`,
		"key":     `{TEXT: ` + strings.Repeat("[", 50) + `}`,
	} {
		l.write("index "+name+"/config.json", l.config)
		l.write("index "+name+"/model.safetensors.index.json", l.js(index))
		l.commands["index, "+name] = []string{"convert", filepath.Join(l.dir, "index "+name), filepath.Join(l.dir, "out.gguf")}
	}
}

func (l *long) configs() {
	for name, value := range map[string]string{
		"model_type": `"model_type": TEXT`, "number": `"model_type": "paligemma", "text_config": {"num_hidden_layers": TEXT}`,
		"activation": `"model_type": "paligemma", "text_config": {"hidden_activation": TEXT}`,
		"object":     `"model_type": "paligemma", "text_config": TEXT`,
		"digits":     `"model_type": "paligemma", "image_token_index": 1` + strings.Repeat("1", len(l.text)),
		"twice":      `TEXT: 1, TEXT: 2`,
	} {
		l.write("config "+name+"/config.json", l.js("{"+value+"}"))
		l.write("config "+name+"/model.safetensors", l.weights)
		l.commands["config, "+name] = []string{"convert", filepath.Join(l.dir, "config "+name), filepath.Join(l.dir, "out.gguf")}
	}
}

func (l *long) tokenizers() {
	for name, value := range map[string]string{
		"model":      `{"model": {"type": TEXT}}`,
		"normalizer": `{"added_tokens": [], "normalizer": {"type": TEXT}, "model": {"type": "BPE", "unk_token": "a", "vocab": {"a": 0}, "merges": []}}`,
		"added":      `{"added_tokens": [{"id": 1, "content": TEXT}, {"id": 1, "content": TEXT}], "model": {"type": "BPE", "vocab": {}, "merges": [], "unk_token": TEXT}}`,
		"vocab":      `{"added_tokens": [], "model": {"type": "BPE", "vocab": {TEXT: 999999999}, "merges": [TEXT], "unk_token": "a"}}`,
		"id":         `{"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 1` + strings.Repeat("1", len(l.text)) + `}, "merges": [], "unk_token": "a"}}`,
		"merges":     `{"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [TEXT], "unk_token": "a"}}`,
		"string":     `TEXT`,
	} {
		l.write("tok "+name+"/config.json", l.config)
		l.write("tok "+name+"/model.safetensors", l.weights)
		l.write("tok "+name+"/tokenizer.json", l.js(value))
		l.commands["tokenizer, "+name] = []string{"convert", filepath.Join(l.dir, "tok "+name), filepath.Join(l.dir, "out.gguf")}
	}
}

func (l *long) npz() {
	short := l.text[:min(len(l.text), 60_000)]
	for name, array := range map[string][2]string{
		"entry": {short, ""}, "array": {short + ".npy", ""},
		"descr": {decoderArray, "{'descr': '" + short + "', 'fortran_order': False, 'shape': (1,), }"},
		"key":   {decoderArray, "{'" + short + "': 1}"},
		"shape": {decoderArray, "{'shape': (" + short + ")}"},
	} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		e, err := z.Create(array[0])
		if err != nil {
			l.t.Fatal(err)
		}
		header := array[1] + "\n"
		data := append([]byte("\x93NUMPY\x02\x00"), binary.LittleEndian.AppendUint32(nil, uint32(len(header)))...)
		if _, err := e.Write(append(data, header...)); err != nil {
			l.t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			l.t.Fatal(err)
		}
		l.commands["npz, "+name] = []string{"parse", maskText, "--size", "9x9", "--mask-decoder", l.write(name+".npz", b.Bytes())}
	}
}

func (l *long) requests() {
	for name, request := range map[string]string{
		"field": `{TEXT: 1}`, "image": `{"image": TEXT, "prompt": "a"}`, "images": `{"images": TEXT, "prompt": "a"}`,
		"number": `{"image": 1` + strings.Repeat("1", len(l.text)) + `, "prompt": "a"}`, "string": `TEXT`, "none": `TEXT TEXT`,
	} {
		l.commands["request, "+name] = []string{"generate", "-m", fixture(l.t, "MODEL"), "--requests", l.write(name+".jsonl", l.js(request))}
	}
}

func (l *long) arguments() {
	text, scene := l.text, filepath.Join(fixture(l.t, "IMAGES"), "scene.png")
	m := fixture(l.t, "MODEL")
	for name, args := range map[string][]string{
		"file": {"caption", text}, "file of a model": {"caption", scene, "-m", text}, "files by a pattern": {"caption", text + "*"},
		"command": {text}, "help": {"help", text}, "flag": {"caption", "--" + text}, "number": {"caption", "--max-tokens", text},
		"enum": {"caption", "--progress", text}, "style": {"caption", scene, "--style", text}, "lang": {"caption", scene, "--lang", text},
		"box": {"caption", scene, "--box", text}, "size": {"parse", "x", "--size", text}, "choices": {"vqa", scene, "--prompt", "a", "--choices", text},
		"file to draw": {"detect", "a", scene, "--draw", text + ".gif"}, "file of a decoder": {"parse", "x", "--size", "1x1", "--mask-decoder", text},
		"device": {"caption", scene, "-m", m, "--device", text}, "prompt": {"caption", scene, "-m", m, "--lang", "a"},
		"long prompt": {"generate", "--prompt", text, "-m", m}, "suffix": {"score", "--prompt", "a", "--suffix", text, "-m", m},
		"type": {"convert", fixture(l.t, "CHECKPOINT"), "--type", text}, "file to write": {"convert", fixture(l.t, "CHECKPOINT"), filepath.Join(l.dir, text)},
		"dropped": {"parse", text, "--size", "1x1"}, "doubt": {"parse", boxText + "&lt;loc" + text, "--size", "1x1", "-v"},
		"file to inspect": {"inspect", text}, "completion": {"completion", text}, "synthetic": {"bench", "--synthetic", text}, "sequences": {"bench", "--sequences", text},
	} {
		l.commands["argument, "+name] = args
	}
}

// Whatever a file or an argument holds, what is said of it is a short line that
// quotes no more than 100 bytes of it. Names of files are whole
// as far as the line has room.
func TestLongText(t *testing.T) {
	const size = 300_000
	for _, unit := range []string{"x", "日", "\u202e", "\U000e0041"} {
		for name, args := range longFiles(t, strings.Repeat(unit, size/len(unit))) {
			t.Run(unit+" "+name, func(t *testing.T) {
				var out, errs bytes.Buffer
				code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
				lines, _, _ := strings.Cut(errs.String(), "\n\nUsage:")
				said := false
				for line := range strings.Lines(lines) {
					if len(line) > 500 {
						t.Errorf("a line of %d bytes: %s", len(line), line)
					}
					said = true
					if file := strings.HasPrefix(name, "argument, file") || strings.HasPrefix(name, "request, image"); !file && longestRun(line) > quote.Max {
						t.Errorf("%d bytes are quoted: %s", longestRun(line), line)
					}
				}
				if code == exitOK && name != "argument, dropped" && name != "argument, doubt" && name != "argument, long prompt" && name != "argument, prompt" || !said && name != "argument, prompt" {
					t.Errorf("exit code %d, %q", code, errs.String())
				}
			})
		}
	}
}

// decoderArray is the first array that a mask decoder needs.
const decoderArray = "_vq_vae._embedding.npy"

// longestRun returns the length of the longest part of a line that is one thing
// again and again, in bytes.
func longestRun(line string) int {
	longest := 0
	for _, unit := range []string{"x", "1", "日", `\u202e`, `\U000e0041`, `\udb40\udc41`} {
		run := 0
		for rest := line; rest != ""; {
			if strings.HasPrefix(rest, unit) {
				run, rest = run+len(unit), rest[len(unit):]
				longest = max(longest, run)
			} else {
				run, rest = 0, rest[1:]
			}
		}
	}
	return longest
}

// A string of 60 megabytes is not read to say that it is none of two names.
func TestLongArchitecture(t *testing.T) {
	var w gguf.Writer
	w.SetString("general.architecture", strings.Repeat("x", 60<<20))
	path := filepath.Join(t.TempDir(), "long.gguf")
	var b bytes.Buffer
	if err := w.Encode(&b, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	for _, command := range []string{"inspect", "caption", "quantize"} {
		args := map[string][]string{
			"inspect": {"inspect", path}, "caption": {"caption", "x.png", "x.png", "-m", path},
			"quantize": {"quantize", path, path + ".out", "--type", "q8_0"},
		}[command]
		runtime.ReadMemStats(&before)
		_, out, errs := runArgs(t, t.Context(), false, args...)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 || len(out)+len(errs) > 1000 {
			t.Errorf("%s: %d bytes of memory, %d of text", command, grown, len(out)+len(errs))
		}
	}
}

// inspect shows an array of few texts, but not one of long ones.
func TestLongArray(t *testing.T) {
	var w gguf.Writer
	w.SetStrings("short", []string{"a", "b"})
	w.SetStrings("long", slices.Repeat([]string{strings.Repeat("x", 100_000)}, 60))
	var b bytes.Buffer
	if err := w.Encode(&b, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "long.gguf")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{formatText, formatJSON} {
		code, out, errs := runArgs(t, t.Context(), false, "inspect", path, "--keys", "--format", format)
		if code != exitOK || len(out) > 1000 || !strings.Contains(out, "a") || !strings.Contains(out, "60") {
			t.Errorf("%s: exit code %d, %d bytes, %s", format, code, len(out), errs)
		}
	}
}
