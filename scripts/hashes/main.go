// Command hashes prints a hash of what the binary computes, a line for each
// result: forward passes of tiny checkpoints in several types, texts that these
// generate, and what the built-in model answers. Run it before and after a
// change that must not alter a bit, and compare:
//
//	go run ./scripts/hashes bin/paligemma testdata/checkpoints/* >before.txt
//
// Forward passes of f32 must never change. Of the log-probabilities six
// decimals count; times are left out.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// types are what each checkpoint is converted to.
var types = []string{"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k_m"}

const (
	photo  = "testdata/photos/chelsea.png"
	rocket = "testdata/photos/rocket.jpg"
	scene  = "testdata/scenes/demo.png"
)

// forwards are passes of each checkpoint.
var forwards = map[string][]string{
	"text":   {"--prompt", "answer en what is it"},
	"image":  {photo, "--prompt", "caption en"},
	"images": {photo, rocket, scene, photo, rocket, "--prompt", "caption en"}, // as many tokens as attention in tiles wants
	"suffix": {photo, "--prompt", "caption en", "--suffix", "a cat looks at you"},
}

// texts are what each checkpoint writes and rates.
var texts = map[string][]string{
	"greedy": {"generate", photo, "--prompt", "caption en", "--max-tokens", "24", "--logprobs", "3"},
	"sample": {"generate", photo, "--prompt", "caption en", "--max-tokens", "24", "--temperature", "1", "--seed", "7"},
	"beams":  {"generate", photo, "--prompt", "caption en", "--max-tokens", "16", "--beams", "4", "--num-return", "4"},
	"score":  {"score", photo, "--prompt", "caption en", "--suffix", "a cat", "--suffix", "a dog and a cat", "--suffix", "x"},
}

// answers are what the built-in model is asked.
var answers = map[string][]string{
	"caption": {"caption", scene, photo},
	"detect":  {"detect", "circle ; square ; triangle ; star", scene},
	"segment": {"segment", "circle", scene},
	"ocr":     {"ocr", scene},
	"vqa":     {"vqa", scene, "--prompt", "how many shapes are there?", "--prompt", "what color is the circle?"},
	"beams":   {"caption", scene, "--beams", "4", "--num-return", "4"},
	"score":   {"score", scene, "--prompt", "caption en", "--suffix", "a red circle", "--suffix", "two blue squares"},
	"forward": {"forward", scene, "--prompt", "caption en", "--suffix", "a red circle", "--hidden-states", "--attentions"},
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: hashes BINARY [CHECKPOINT…]")
		os.Exit(2)
	}
	dir, err := os.MkdirTemp("", "hashes-")
	if err == nil {
		err = run(os.Args[1], dir, os.Args[2:])
		os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hashes:", err)
		os.Exit(1)
	}
}

func run(binary, dir string, checkpoints []string) error {
	r := runner{binary, dir}
	for _, checkpoint := range checkpoints {
		for _, typ := range types {
			file := filepath.Join(dir, "model.gguf")
			if _, err := r.output("convert", checkpoint, file, "--type", typ, "--overwrite", "--quiet"); err != nil {
				return err
			}
			label := typ + " " + filepath.Base(checkpoint)
			for _, name := range slices.Sorted(maps.Keys(forwards)) {
				args := forwards[name]
				r.forward(label+" forward "+name, append([]string{"--hidden-states", "--attentions", "--model", file}, args...))
				r.forward(label+" forward "+name+" logits", append([]string{"--model", file}, args...))
			}
			for _, name := range slices.Sorted(maps.Keys(texts)) {
				args := texts[name]
				r.answer(label+" "+name, append(args[:len(args):len(args)], "--model", file))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		args := answers[name]
		if args[0] == "forward" {
			r.forward("built-in "+name, args[1:])
			continue
		}
		r.answer("built-in "+name, args)
	}
	return nil
}

type runner struct{ binary, dir string }

// output runs the binary and returns what it prints.
func (r runner) output(args ...string) ([]byte, error) {
	out, err := exec.Command(r.binary, args...).Output()
	if failed, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("%v: %w: %s", args, err, failed.Stderr)
	}
	return out, err
}

// forward prints the hash of the file that a forward pass writes.
func (r runner) forward(label string, args []string) {
	file := filepath.Join(r.dir, "out.safetensors")
	_, err := r.output(append([]string{"forward", "--threads", "1", "--overwrite", "--output", file}, args...)...)
	var content []byte
	if err == nil {
		content, err = os.ReadFile(file)
	}
	report(label, content, err)
}

// answer prints the hash of a command's JSON.
func (r runner) answer(label string, args []string) {
	out, err := r.output(append(args[:len(args):len(args)], "--threads", "1", "--format", "jsonl", "--quiet")...)
	var content bytes.Buffer
	for d := json.NewDecoder(bytes.NewReader(out)); err == nil; {
		var v any
		if err = d.Decode(&v); err == nil {
			err = json.NewEncoder(&content).Encode(stable(v))
		}
	}
	if err == io.EOF {
		err = nil
	}
	report(label, content.Bytes(), err)
}

// stable leaves out times and names of files, and rounds numbers.
func stable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range []string{"timings", "model", "drawing"} {
			delete(v, key)
		}
		for key, value := range v {
			v[key] = stable(value)
		}
	case []any:
		for i := range v {
			v[i] = stable(v[i])
		}
	case float64:
		return strconv.FormatFloat(v, 'f', 6, 64)
	}
	return v
}

func report(label string, content []byte, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", label, err)
		return
	}
	fmt.Printf("%s %x\n", label, sha256.Sum256(content))
}
