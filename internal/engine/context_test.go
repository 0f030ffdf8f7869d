package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/tokenizer"
)

// withContext makes the f32 file of a tiny checkpoint for contexts of so few tokens that an
// emulated processor fills one in seconds.
func withContext(t testing.TB, tokens int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(testdata, "checkpoints", "pg1-tiny"))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte(`"max_position_embeddings": 8192`), fmt.Appendf(nil, `"max_position_embeddings": %d`, tokens), 1)
	if err := os.WriteFile(config, data, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "short.gguf")
	if _, err := convert.Convert(t.Context(), dir, path, convert.Options{Type: "f32"}); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is asked for never leaves the context the model was made for; an error about it is a tokenizer.LengthError.
func TestContextLength(t *testing.T) {
	const context = 1000
	e := open(t, withContext(t, context), 1)
	if got := e.Config().Text.Context; got != context {
		t.Fatalf("the context is %d, want %d", got, context)
	}
	ids := func(room int) engine.Prompt {
		p := engine.Prompt{IDs: make([]int, context-room)}
		for i := range p.IDs {
			p.IDs[i] = e.Config().Tokens.BOS
		}
		return p
	}
	for _, beams := range []int{1, 2} {
		got, err := e.Generate(t.Context(), engine.Request{Prompt: ids(6), MaxTokens: 1 << 40, Beams: beams, IgnoreEOS: true})
		if err != nil || len(got.Tokens) > 6 {
			t.Errorf("%d beams: %d tokens, %v", beams, len(got.Tokens), err)
		}
	}
	if _, err := e.Score(t.Context(), ids(6), []string{"a cat"}); err != nil {
		t.Errorf("score: %v", err)
	}
	if _, err := e.Generate(t.Context(), engine.Request{Prompt: ids(6), MaxTokens: -1}); err == nil {
		t.Error("a negative number of tokens")
	}
	none := ""
	for name, ask := range map[string]func() error{
		"score of a suffix that leaves the context": func() error {
			_, err := e.Score(t.Context(), ids(6), []string{"two dogs on the green grass"})
			return err
		},
		"text after a prompt as long as the context": func() error {
			_, err := e.Generate(t.Context(), engine.Request{Prompt: ids(0), MaxTokens: 1})
			return err
		},
		"pass over a suffix beyond the context": func() error {
			_, err := e.Forward(t.Context(), ids(0), &none, model.TraceOptions{})
			return err
		},
		"text longer than any that fits": func() error {
			_, err := e.Generate(t.Context(), engine.Request{Prompt: engine.Prompt{Text: strings.Repeat("x ", 1<<20)}, MaxTokens: 1})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var long *tokenizer.LengthError
			if err := ask(); !errors.As(err, &long) {
				t.Errorf("%v", err)
			}
		})
	}
}
