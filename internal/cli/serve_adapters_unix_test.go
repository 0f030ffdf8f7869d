//go:build unix

package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"paligemma/internal/adapter/random"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// Sixteen requests at once, of all kinds, with three adapters or none, get what the command
// line gives for each alone with --lora.
func TestServedWithAdapters(t *testing.T) {
	path, picture := fixture(t, "MODEL"), filepath.Join(fixture(t, "IMAGES"), "scene.png")
	file, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := model.ReadConfig(file.Header)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	args, dirs := []string{"--port", "0", "-m", path, "--parallel", "8"}, map[string]string{}
	dirs["peft"] = filepath.Join(fixture(t, "ADAPTERS"), "rslora") // which PEFT has written
	for i, name := range []string{"text", "tower"} {
		dirs[name] = filepath.Join(t.TempDir(), name)
		o := random.Options{Rank: 2 + i, Seed: uint64(i), Spread: 0.1, Text: name == "text", Tower: name == "tower"}
		if err := random.Write(dirs[name], config, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"text", "tower", "peft"} {
		args = append(args, "--adapter", name+"="+dirs[name])
	}
	data, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	image := base64.StdEncoding.EncodeToString(data)
	kinds := []struct {
		task  string
		args  []string
		field map[string]any
	}{
		{"caption", []string{picture, "--max-tokens", "12"}, map[string]any{"image": image, "max_tokens": 12}},
		{"vqa", []string{picture, "--prompt", "what?", "--max-tokens", "9"}, map[string]any{"image": image, "prompt": "what?", "max_tokens": 9}},
		{"generate", []string{"--prompt", "x", "--max-tokens", "20", "--temperature", "1", "--seed", "4"}, map[string]any{"prompt": "x", "max_tokens": 20, "temperature": 1, "seed": 4}},
		{"score", []string{picture, "--prompt", "caption en", "--suffix", "a cat", "--suffix", "dogs"}, map[string]any{"image": image, "prompt": "caption en", "suffixes": []string{"a cat", "dogs"}}},
	}
	sets := [][]string{nil, {"text"}, {"tower:0.5"}, {"text", "peft"}}
	s := startServe(t, nil, args...)
	url := s.address(t, "http://")
	var asks []func()
	for _, kind := range kinds {
		for _, set := range sets {
			line := slices.Concat([]string{kind.task}, kind.args, []string{"-m", path, "--json"})
			for _, name := range set {
				name, scale, scaled := strings.Cut(name, ":")
				if line = append(line, "--lora", dirs[name]); scaled {
					line[len(line)-1] += ":" + scale
				}
			}
			code, stdout, stderr := command(t, line...)
			if code != exitOK {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			want := servedAnswer(t, []byte(stdout))
			body := map[string]any{"lora": append([]string{}, set...)}
			for name, value := range kind.field {
				body[name] = value
			}
			asks = append(asks, func() {
				request, _ := json.Marshal(body)
				r, err := http.Post(url+"/v1/"+kind.task, "application/json", bytes.NewReader(request))
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Body.Close()
				got, err := io.ReadAll(r.Body)
				if err != nil || r.StatusCode != http.StatusOK {
					t.Errorf("%d %s %v", r.StatusCode, got, err)
				} else if got := servedAnswer(t, got); got != want {
					t.Errorf("%s with %v:\n%s, want\n%s", kind.task, set, got, want)
				}
			})
		}
	}
	var all sync.WaitGroup
	for _, ask := range asks {
		all.Go(ask)
	}
	all.Wait()
}

// servedAnswer returns the text, tokens and scores of a result.
func servedAnswer(t *testing.T, data []byte) string {
	t.Helper()
	var all struct {
		Prompt, Text string
		Tokens       []any
		Scores       []any
		Finish       string `json:"finish_reason"`
		Confidence   *float64
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Errorf("%v: %.300s", err, data)
	}
	answer, _ := json.Marshal(all)
	return string(answer)
}
