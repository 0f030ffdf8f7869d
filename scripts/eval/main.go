// Command eval marks the built-in model, quantized to several types, on drawn
// scenes that it was not trained on, through the paligemma binary.
//
//	go run ./scripts/eval -scenes 1000 -seed 1
//
// The table has for each type: the size of its file; F1 over the facts of
// captions in English and Spanish; the share of questions answered right, all
// and by kind; F1 of boxes at an intersection over union of 0.5, and the mean
// IoU of the boxes to be found; the mean IoU of masks; the share of signs read
// without an error; and how often nothing is said about what is not there.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"paligemma/internal/demo/eval"
)

type options struct {
	scenes int
	seed   int
	types  string
	binary string
	model  string
	asJSON bool
	keep   string
}

func main() {
	var o options
	flag.IntVar(&o.scenes, "scenes", 1000, "scenes to draw")
	flag.IntVar(&o.seed, "seed", 1, "another number draws other scenes")
	flag.StringVar(&o.types, "types", "f16,q8_0,q6_k,q5_k_m,q4_k_m,q4_0,q3_k_m,q2_k", "types to quantize to")
	flag.StringVar(&o.binary, "binary", "bin/paligemma", "the program to run")
	flag.StringVar(&o.model, "model", "", "a GGUF file to mark as it is, in place of the built-in model")
	flag.BoolVar(&o.asJSON, "json", false, "print JSON in place of the table")
	flag.StringVar(&o.keep, "keep", "", "leave pictures, prompts, what is right, and answers in this folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "eval:", err)
		os.Exit(1)
	}
}

// builtIn is the source of the built-in model and of all its types.
const builtIn = "internal/demo/demo.gguf"

func run(ctx context.Context, o options, stdout io.Writer) (err error) {
	if o.scenes < 1 {
		return errors.New("-scenes: want at least 1")
	}
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "paligemma-eval"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	cases, err := eval.Draw(dir, o.seed, o.scenes)
	if err != nil {
		return err
	}
	var requests bytes.Buffer
	if err := eval.WriteRequests(&requests, cases); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "requests.jsonl"), requests.Bytes(), 0o666); err != nil {
		return err
	}
	var samples bytes.Buffer
	if err := eval.WriteSamples(&samples, cases); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "samples.jsonl"), samples.Bytes(), 0o666); err != nil {
		return err
	}
	types := strings.Split(o.types, ",")
	if o.model != "" {
		types = []string{filepath.Base(o.model)}
	}
	var rows []eval.Row
	for _, t := range types {
		model, err := o.file(ctx, dir, t)
		if err != nil {
			return err
		}
		row, err := o.mark(ctx, dir, t, model, cases, requests.Bytes())
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		rows = append(rows, row)
		fmt.Fprintf(os.Stderr, "%s: %d answers about %d scenes in %.0f s\n", t, bytes.Count(requests.Bytes(), []byte("\n")), len(cases), row.Seconds)
	}
	if !o.asJSON {
		return eval.WriteTable(stdout, rows)
	}
	e := json.NewEncoder(stdout)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Scenes int        `json:"scenes"`
		Seed   int        `json:"seed"`
		Models []eval.Row `json:"models"`
	}{o.scenes, o.seed, rows})
}

// file is the model's file in a type, made if need be.
func (o options) file(ctx context.Context, dir, t string) (string, error) {
	switch {
	case o.model != "":
		return o.model, nil
	case t == "f16":
		return builtIn, nil
	}
	path := filepath.Join(dir, t+".gguf")
	return path, o.command(ctx, nil, io.Discard, "quantize", builtIn, path, "--type", t, "--quiet", "--overwrite")
}

// mark has the binary answer everything and marks it.
func (o options) mark(ctx context.Context, dir, t, model string, cases []eval.Case, requests []byte) (eval.Row, error) {
	args := []string{"generate", "--requests", "-", "--format", "jsonl", "--quiet"}
	if model != builtIn { // the binary has that one
		args = append(args, "-m", model)
	}
	var answers bytes.Buffer
	start := time.Now()
	if err := o.command(ctx, bytes.NewReader(requests), &answers, args...); err != nil {
		return eval.Row{}, err
	}
	row := eval.Row{Type: t, Seconds: time.Since(start).Seconds()}
	if o.keep != "" {
		if err := os.WriteFile(filepath.Join(dir, t+".jsonl"), answers.Bytes(), 0o666); err != nil {
			return row, err
		}
	}
	info, err := os.Stat(model)
	if err != nil {
		return row, err
	}
	row.Bytes = info.Size()
	row.Scores, err = eval.Mark(cases, &answers)
	return row, err
}

func (o options) command(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, o.binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &stderr
	// What the user has set for other models does not count here.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "PALIGEMMA_") || name == "PALIGEMMA_THREADS" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", o.binary, args[0], err, strings.TrimSpace(stderr.String()))
	}
	return nil
}
