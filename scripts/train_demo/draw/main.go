// Command draw draws scenes for the training of the built-in model and for
// people to look at.
//
//	go run ./scripts/train_demo/draw -seed 0 -count 1000 -size 112 | python …
//	go run ./scripts/train_demo/draw -eval 1 -count 20 -out scenes
//
// On stdout it writes records without end or -count of them. A record is
//
//	uint32, little endian: bytes of the JSON text
//	JSON: {"scene": facts, "samples": [prompts and answers]}
//	size × size × 3 bytes: the picture, squashed as paligemma squashes it
//	size × size bytes: what each pixel shows: 0 background, i+1 object i, 5 the sign
//	size × size bytes: which letter of the sign: 0 none, 1 to 26 (only where a sign is)
//	for each object 64 × 64 bytes: its visible mask cut out at its box, 0 to 255
//
// With -out it writes NNNNNN.png as drawn and scenes.jsonl instead.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"paligemma/internal/demo/scene"
	"paligemma/internal/preprocess"
)

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", 0, "first scene of training")
	flag.IntVar(&o.eval, "eval", -1, "draw held-out scenes instead: those of this evaluation")
	flag.IntVar(&o.count, "count", 0, "scenes to draw (0: no end)")
	flag.IntVar(&o.size, "size", 112, "side of the squashed pictures")
	flag.IntVar(&o.maxSide, "max-side", 0, "longest side of the pictures before that (0: the standard)")
	flag.IntVar(&o.signEvery, "sign-every", 0, "every `N`th scene has a sign for certain (0: all by chance)")
	flag.StringVar(&o.out, "out", "", "write PNG files and scenes.jsonl to this folder")
	words := flag.Bool("words", false, "print the words of all prompts and answers, one a line, and end")
	signWords := flag.Bool("sign-words", false, "print the words that may stand on signs, one a line, and end")
	flag.Parse()
	if *words || *signWords {
		list := scene.Vocabulary()
		if *signWords {
			list = scene.SignWords
		}
		for _, w := range list {
			fmt.Println(w)
		}
		return
	}
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "draw:", err)
		os.Exit(1)
	}
}

type options struct {
	seed    uint64
	eval    int
	count   int
	size    int
	maxSide int
	out     string

	signEvery int
}

// record is the JSON of a scene.
type record struct {
	File    string         `json:"file,omitempty"`
	Scene   *scene.Scene   `json:"scene"`
	Samples []scene.Sample `json:"samples"`
}

func run(o options, stdout io.Writer) error {
	if o.size < 1 || o.size > 1024 {
		return fmt.Errorf("size %d is not between 1 and 1024", o.size)
	}
	if o.out != "" && o.count <= 0 {
		return errors.New("-out needs -count")
	}
	if o.out != "" {
		return toFolder(o)
	}
	w := bufio.NewWriterSize(stdout, 1<<20)
	for i := 0; o.count <= 0 || i < o.count; i++ {
		if err := write(w, draw(o, i), o.size); err != nil {
			return fmt.Errorf("scene %d: %w", i, err)
		}
	}
	return w.Flush()
}

// draw makes scene i.
func draw(o options, i int) record {
	seed := scene.TrainSeed(o.seed + uint64(i))
	if o.eval >= 0 {
		seed = scene.EvalSeed(uint32(o.eval), uint32(o.seed)+uint32(i))
	}
	s := scene.Draw(seed, scene.Options{
		MaxSide: o.maxSide,
		Sign:    o.signEvery > 0 && (o.seed+uint64(i))%uint64(o.signEvery) == 0,
	})
	return record{Scene: s, Samples: scene.Samples(s, scene.Rand(seed))}
}

// write writes one record.
func write(w io.Writer, r record, size int) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(text)))
	b = append(b, text...)
	b = append(b, preprocess.Resize(r.Scene.Picture, size, size).Pix...)
	b = append(b, r.Scene.IndexMap(size)...)
	if r.Scene.Sign != nil {
		b = append(b, r.Scene.LetterMap(size)...)
	}
	for i := range r.Scene.Objects {
		b = append(b, r.Scene.Objects[i].Crop()...)
	}
	_, err = w.Write(b)
	return err
}

// toFolder writes pictures and their facts as files.
func toFolder(o options) (err error) {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(o.out, "scenes.jsonl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := json.NewEncoder(f)
	lines.SetEscapeHTML(false)
	for i := range o.count {
		r := draw(o, i)
		r.File = fmt.Sprintf("%06d.png", i)
		if err := r.Scene.WritePNG(filepath.Join(o.out, r.File)); err != nil {
			return err
		}
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	return nil
}
