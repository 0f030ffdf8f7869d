// Command batchkills kills a batch at random moments (SIGKILL), runs it again each time,
// and compares what is there in the end with an unbroken run: byte for byte, but for the
// timings. It does so for a file of results and for a folder with a file for each
// archive.
//
//	go run ./scripts/batchkills bin/paligemma testdata/checkpoints/pg1-tiny
//	go run ./scripts/batchkills -kills 500 -seed 7 bin/paligemma testdata/checkpoints/pg1-tiny
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	kills := flag.Int("kills", 50, "`N` kills, for each kind of output")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "`N` that the moments depend on")
	pictures := flag.Int("pictures", 240, "`N` pictures")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: batchkills [flags] PROGRAM CHECKPOINT")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	fmt.Println("seed", *seed)
	k := killer{random: rand.New(rand.NewPCG(*seed, 0)), kills: *kills}
	if err := k.run(flag.Arg(0), flag.Arg(1), *pictures); err != nil {
		fmt.Fprintln(os.Stderr, "batchkills:", err)
		os.Exit(1)
	}
}

// killer kills runs.
type killer struct {
	random  *rand.Rand
	kills   int
	program string
	dir     string // with the inputs and outputs
}

func (k *killer) run(program, checkpoint string, pictures int) (err error) {
	if k.program, err = filepath.Abs(program); err != nil {
		return err
	}
	if k.dir, err = os.MkdirTemp("", "batchkills"); err != nil {
		return err
	}
	defer os.RemoveAll(k.dir)
	// In F32 the last digits do not depend on what is decoded together.
	convert := exec.Command(k.program, "convert", checkpoint, filepath.Join(k.dir, "tiny.gguf"), "--type", "f32", "-q")
	if out, err := convert.CombinedOutput(); err != nil {
		return fmt.Errorf("convert: %w: %s", err, out)
	}
	const archives = 6
	for i := range archives {
		if err := writeArchive(filepath.Join(k.dir, fmt.Sprintf("%d.tar", i)), pictures/archives*i, pictures/archives*(i+1)); err != nil {
			return err
		}
	}
	for _, output := range []string{"o.jsonl", "o"} {
		if err := k.try(output); err != nil {
			return fmt.Errorf("%s: %w", output, err)
		}
	}
	return nil
}

// writeArchive writes pictures with the numbers from..to-1, one in seven of them damaged.
func writeArchive(path string, from, to int) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := from; i < to; i++ {
		img := image.NewGray(image.Rect(0, 0, 16, 16))
		for p := range 256 {
			img.SetGray(p%16, p/16, color.Gray{Y: uint8(p * (i + 1))})
		}
		var data bytes.Buffer
		if err := png.Encode(&data, img); err != nil {
			return err
		}
		if i%7 == 3 {
			data.Truncate(data.Len() / 2)
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%05d.png", i), Size: int64(data.Len()), Mode: 0o644}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := data.WriteTo(w); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// command returns a run with an output.
func (k *killer) command(output string) *exec.Cmd {
	cmd := exec.Command(k.program, "caption", "{0..5}.tar", "-m", "tiny.gguf", "-o", output, "-q", "--max-tokens", "8")
	cmd.Dir = k.dir
	return cmd
}

// try kills runs with an output until there were enough kills. A run that ends before it
// is killed is compared, and begun anew.
func (k *killer) try(output string) error {
	whole := "whole-" + output
	start := time.Now()
	if err := finished(k.command(whole).Run()); err != nil {
		return err
	}
	took := time.Since(start)
	want, err := k.results(whole)
	if err != nil {
		return err
	}
	kills, rounds := 0, 0
	for kills < k.kills {
		for ; kills < k.kills; kills++ {
			ended, err := k.killAfter(output, time.Duration(k.random.Int64N(int64(took))))
			if err != nil {
				return err
			}
			if ended {
				break
			}
		}
		if err := finished(k.command(output).Run()); err != nil {
			return err
		}
		got, err := k.results(output)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("after %d kills the results are others than those of an unbroken run: %s", kills, k.keep())
		}
		rounds++
		if err := k.remove(output); err != nil {
			return err
		}
	}
	fmt.Printf("%s: %d kills in %d runs to the end, each with the %d bytes of an unbroken run (which took %.1f s)\n",
		output, kills, rounds, len(want), took.Seconds())
	return nil
}

// finished returns the error of a run that did not come to its end: 3 is the exit code
// where inputs have failed.
func finished(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		return nil
	}
	if err == nil {
		err = errors.New("no input has failed")
	}
	return err
}

// killAfter begins a run and kills it after a time, unless it ended before.
func (k *killer) killAfter(output string, after time.Duration) (ended bool, err error) {
	cmd := k.command(output)
	if err := cmd.Start(); err != nil {
		return false, err
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	timer.Stop()
	if cmd.ProcessState.Exited() {
		return true, finished(err)
	}
	return false, nil
}

var timings = regexp.MustCompile(`,"timings":\{[^}]*\}`)

// results returns all results of an output, without their timings. What only a run under
// way needs must be gone.
func (k *killer) results(output string) ([]byte, error) {
	paths, err := filepath.Glob(filepath.Join(k.dir, output, "*"))
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(output, ".jsonl") {
		if paths, err = filepath.Glob(filepath.Join(k.dir, output+"*")); err != nil {
			return nil, err
		}
	}
	var all []byte
	for _, path := range paths {
		switch ext := filepath.Ext(path); ext {
		case ".jsonl":
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			all = append(all, timings.ReplaceAll(data, nil)...)
		case ".json": // of the job and the statistics
		default:
			return nil, fmt.Errorf("%s was left", path)
		}
	}
	return all, nil
}

// remove removes an output.
func (k *killer) remove(output string) error {
	paths, err := filepath.Glob(filepath.Join(k.dir, strings.TrimSuffix(output, ".jsonl")+".*"))
	for _, path := range append(paths, filepath.Join(k.dir, output)) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// keep gives the folder another name, so that it can be looked at, and returns that.
func (k *killer) keep() string {
	kept := k.dir + ".kept"
	if err := os.Rename(k.dir, kept); err != nil {
		return err.Error()
	}
	return kept
}
