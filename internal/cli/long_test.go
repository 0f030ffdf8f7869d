package cli

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/quote"
)

// longFiles writes files in each of which something is text, and returns the
// command lines that read them.
func longFiles(t *testing.T, text string) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	commands := map[string][]string{}
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	model := func(name string, data []byte) {
		path := write(name+".gguf", data)
		commands["gguf, "+name] = []string{"caption", scene, "-m", path}
	}
	encode := func(w *gguf.Writer) []byte {
		var b bytes.Buffer
		if err := w.Encode(&b, nil); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var w gguf.Writer
	w.SetString("general.architecture", text)
	model("architecture", encode(&w))
	model("magic", append([]byte("GGUX"), text...))
	for name, kinds := range map[string][]uint32{"type of a key": {99}, "array of a key": {9, 99}, "nested array of a key": {9, 9}, "key that is there twice": {0}} {
		head := append([]byte("GGUF"), 3, 0, 0, 0)
		head = binary.LittleEndian.AppendUint64(head, 0)
		head = binary.LittleEndian.AppendUint64(head, 2)
		key := text[:min(len(text), 60_000)]
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
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	js := func(format string) []byte { return []byte(strings.ReplaceAll(format, "TEXT", string(quoted))) }
	for name, header := range map[string]string{
		"name":     `{TEXT: {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}`,
		"twice":    `{TEXT: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, TEXT: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}`,
		"dtype":    `{"a": {"dtype": TEXT, "shape": [1], "data_offsets": [0, 4]}}`,
		"field":    `{"a": {TEXT: 1}}`,
		"shape":    `{"a": {"shape": [TEXT]}}`,
		"number":   `{"a": {"shape": [1` + strings.Repeat("1", len(text)) + `]}}`,
		"metadata": `{"__metadata__": {"a": 1, TEXT: TEXT}}`,
		"other":    `{"a": TEXT}`,
	} {
		data := js(header)
		path := write("st/"+name+".safetensors", append(binary.LittleEndian.AppendUint64(nil, uint64(len(data))), append(data, 0, 0, 0, 0)...))
		commands["safetensors, "+name] = []string{"inspect", path}
	}
	weights, err := os.ReadFile(filepath.Join(fixture(t, "CHECKPOINT"), "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(fixture(t, "CHECKPOINT"), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, index := range map[string]string{
		"shard":   `{"weight_map": {"a": TEXT}}`,
		"file":    `{"weight_map": {"a": "` + strings.Repeat("x", len(text)) + `.safetensors"}}`,
		"missing": `{"weight_map": {TEXT: "b.safetensors"}}`,
		"key":     `{TEXT: ` + strings.Repeat("[", 50) + `}`,
	} {
		write("index "+name+"/config.json", config)
		write("index "+name+"/model.safetensors.index.json", js(index))
		commands["index, "+name] = []string{"convert", filepath.Join(dir, "index "+name), filepath.Join(dir, "out.gguf")}
	}
	for name, value := range map[string]string{
		"model_type": `"model_type": TEXT`, "number": `"model_type": "paligemma", "text_config": {"num_hidden_layers": TEXT}`,
		"activation": `"model_type": "paligemma", "text_config": {"hidden_activation": TEXT}`,
		"object":     `"model_type": "paligemma", "text_config": TEXT`,
		"digits":     `"model_type": "paligemma", "image_token_index": 1` + strings.Repeat("1", len(text)),
		"twice":      `TEXT: 1, TEXT: 2`,
	} {
		write("config "+name+"/config.json", js("{"+value+"}"))
		write("config "+name+"/model.safetensors", weights)
		commands["config, "+name] = []string{"convert", filepath.Join(dir, "config "+name), filepath.Join(dir, "out.gguf")}
	}
	for name, value := range map[string]string{
		"model":      `{"model": {"type": TEXT}}`,
		"normalizer": `{"added_tokens": [], "normalizer": {"type": TEXT}, "model": {"type": "BPE", "unk_token": "a", "vocab": {"a": 0}, "merges": []}}`,
		"added":      `{"added_tokens": [{"id": 1, "content": TEXT}, {"id": 1, "content": TEXT}], "model": {"type": "BPE", "vocab": {}, "merges": [], "unk_token": TEXT}}`,
		"vocab":      `{"added_tokens": [], "model": {"type": "BPE", "vocab": {TEXT: 999999999}, "merges": [TEXT], "unk_token": "a"}}`,
		"id":         `{"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 1` + strings.Repeat("1", len(text)) + `}, "merges": [], "unk_token": "a"}}`,
		"merges":     `{"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [TEXT], "unk_token": "a"}}`,
		"string":     `TEXT`,
	} {
		write("tok "+name+"/config.json", config)
		write("tok "+name+"/model.safetensors", weights)
		write("tok "+name+"/tokenizer.json", js(value))
		commands["tokenizer, "+name] = []string{"convert", filepath.Join(dir, "tok "+name), filepath.Join(dir, "out.gguf")}
	}
	short := text[:min(len(text), 60_000)]
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
			t.Fatal(err)
		}
		header := array[1] + "\n"
		data := append([]byte("\x93NUMPY\x02\x00"), binary.LittleEndian.AppendUint32(nil, uint32(len(header)))...)
		if _, err := e.Write(append(data, header...)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		commands["npz, "+name] = []string{"parse", maskText, "--size", "9x9", "--mask-decoder", write(name+".npz", b.Bytes())}
	}
	for name, request := range map[string]string{
		"field": `{TEXT: 1}`, "image": `{"image": TEXT, "prompt": "a"}`, "images": `{"images": TEXT, "prompt": "a"}`,
		"number": `{"image": 1` + strings.Repeat("1", len(text)) + `, "prompt": "a"}`, "string": `TEXT`, "none": `TEXT TEXT`,
	} {
		commands["request, "+name] = []string{"generate", "-m", fixture(t, "MODEL"), "--requests", write(name+".jsonl", js(request))}
	}
	m := fixture(t, "MODEL")
	for name, args := range map[string][]string{
		"file": {"caption", text}, "file of a model": {"caption", scene, "-m", text}, "files by a pattern": {"caption", text + "*"},
		"command": {text}, "help": {"help", text}, "flag": {"caption", "--" + text}, "number": {"caption", "--max-tokens", text},
		"enum": {"caption", "--progress", text}, "style": {"caption", scene, "--style", text}, "lang": {"caption", scene, "--lang", text},
		"box": {"caption", scene, "--box", text}, "size": {"parse", "x", "--size", text}, "choices": {"vqa", scene, "--prompt", "a", "--choices", text},
		"file to draw": {"detect", "a", scene, "--draw", text + ".gif"}, "file of a decoder": {"parse", "x", "--size", "1x1", "--mask-decoder", text},
		"device": {"caption", scene, "-m", m, "--device", text}, "prompt": {"caption", scene, "-m", m, "--lang", "a"},
		"long prompt": {"generate", "--prompt", text, "-m", m}, "suffix": {"score", "--prompt", "a", "--suffix", text, "-m", m},
		"type": {"convert", fixture(t, "CHECKPOINT"), "--type", text}, "file to write": {"convert", fixture(t, "CHECKPOINT"), filepath.Join(dir, text)},
		"dropped": {"parse", text, "--size", "1x1"}, "doubt": {"parse", boxText + "&lt;loc" + text, "--size", "1x1", "-v"},
		"file to inspect": {"inspect", text}, "completion": {"completion", text}, "synthetic": {"bench", "--synthetic", text},
	} {
		commands["argument, "+name] = args
	}
	return commands
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
		_, out, errs := run(t, t.Context(), false, args...)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 || len(out)+len(errs) > 1000 {
			t.Errorf("%s: %d bytes of memory, %d of text", command, grown, len(out)+len(errs))
		}
	}
}
