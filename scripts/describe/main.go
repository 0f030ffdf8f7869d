// Command describe copies a GGUF file and sets keys of text in it, such as what
// a model is, how it was made and how well it does.
//
//	go run ./scripts/describe in.gguf out.gguf general.name='…' demo.scores='…'
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/gguf"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "describe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: describe IN.gguf OUT.gguf KEY=TEXT…")
	}
	in, err := gguf.Open(args[0], gguf.Options{})
	if err != nil {
		return err
	}
	defer in.Close()
	set := map[string]bool{}
	var w gguf.Writer
	for _, arg := range args[2:] {
		key, _, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q: want KEY=TEXT", arg)
		}
		set[key] = true
	}
	for _, key := range in.Keys() {
		if !set[key] {
			w.CopyKey(in.Header, key)
		}
	}
	for _, arg := range args[2:] {
		key, text, _ := strings.Cut(arg, "=")
		w.SetString(key, text)
	}
	for _, t := range in.Tensors {
		if err := w.AddTensor(t.Name, t.Type, t.Shape...); err != nil {
			return err
		}
	}
	out, err := atomicfile.Create(args[1], true)
	if err != nil {
		return err
	}
	defer out.Abort()
	next := 0
	err = w.Encode(out, func(_ gguf.Tensor, dst io.Writer) error {
		next++
		_, err := dst.Write(in.Data(in.Tensors[next-1]))
		return err
	})
	if err != nil {
		return err
	}
	return out.Commit()
}
