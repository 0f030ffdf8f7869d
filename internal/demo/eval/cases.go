// Package eval marks a model on drawn scenes that it was not trained on: it
// writes pictures and prompts to files, has the paligemma binary answer them,
// and scores the answers by the scenes' facts.
package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"sync"

	"paligemma/internal/demo/scene"
)

// Case is a scene, its picture's file, and what is asked of it.
type Case struct {
	Scene   *scene.Scene
	Path    string // of the picture, a PNG
	Samples []scene.Sample
}

// Draw draws n scenes of an evaluation into PNG files in dir. run numbers the
// evaluation: another one has other scenes, and none is among those of training
// (see scene.EvalSeed).
func Draw(dir string, run, n int) ([]Case, error) {
	cases, errs := make([]Case, n), make([]error, n)
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				cases[i], errs[i] = draw(filepath.Join(dir, fmt.Sprintf("%05d.png", i)), scene.EvalSeed(uint32(run), uint32(i)))
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return cases, errors.Join(errs...)
}

func draw(path string, seed uint64) (Case, error) {
	s := scene.Draw(seed, scene.Options{})
	c := Case{Scene: s, Path: path, Samples: scene.Samples(s, scene.Rand(seed))}
	return c, s.WritePNG(path)
}

// WriteSamples writes what each request should be answered, a line for each.
func WriteSamples(w io.Writer, cases []Case) error {
	return writeLines(w, cases, func(path string, s scene.Sample) any {
		return struct {
			Image string `json:"image"`
			scene.Sample
		}{path, s}
	})
}

// WriteRequests writes what is asked as `paligemma generate --requests` reads
// it, a line for each sample in the order of the cases.
func WriteRequests(w io.Writer, cases []Case) error {
	return writeLines(w, cases, func(path string, s scene.Sample) any {
		return struct {
			Image  string `json:"image"`
			Prompt string `json:"prompt"`
		}{path, s.Prompt}
	})
}

func writeLines(w io.Writer, cases []Case, line func(path string, s scene.Sample) any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i := range cases {
		for _, s := range cases[i].Samples {
			if err := e.Encode(line(cases[i].Path, s)); err != nil {
				return err
			}
		}
	}
	return nil
}
