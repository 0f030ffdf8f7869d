//go:build unix

package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
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

// randomAdapter writes an adapter of a model into a folder.
func randomAdapter(t *testing.T, path string, o random.Options) (dir string) {
	t.Helper()
	file, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	config, err := model.ReadConfig(file.Header)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "adapter")
	if err := random.Write(dir, config, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Sixteen requests at once, of all kinds, with three adapters or none, get what the command
// line gives for each alone with --lora.
func TestServedWithAdapters(t *testing.T) {
	path, picture := fixture(t, "MODEL"), filepath.Join(fixture(t, "IMAGES"), "scene.png")
	args, dirs := []string{"--port", "0", "-m", path, "--parallel", "8"}, map[string]string{}
	dirs["peft"] = filepath.Join(fixture(t, "ADAPTERS"), "rslora") // which PEFT has written
	for i, name := range []string{"text", "tower"} {
		dirs[name] = randomAdapter(t, path, random.Options{Rank: 2 + i, Seed: uint64(i), Spread: 0.1, Text: name == "text", Tower: name == "tower"})
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

// TestServeAsCommands: 16 requests of all kinds at once get, token for token, what the
// commands answer alone.
func TestServeAsCommands(t *testing.T) {
	model, images := fixture(t, "MODEL"), fixture(t, "IMAGES")
	address := startServe(t, nil, "--port", "0", "-m", model, "-q").address(t, "http://")
	type inquiry struct {
		task   string
		image  string
		fields map[string]any
		args   []string
	}
	var all []inquiry
	for i, image := range []string{"scene.png", "gradient.png", "photo.jpg", "scene.png"} {
		seed := fmt.Sprint(i)
		sampled := []string{"--temperature", "2", "--seed", seed, "--max-tokens", "40"}
		with := func(fields map[string]any) map[string]any {
			fields["temperature"], fields["seed"], fields["max_tokens"] = 2, i, 40
			return fields
		}
		all = append(all,
			inquiry{"caption", image, with(map[string]any{"lang": "de"}), append([]string{"--lang", "de"}, sampled...)},
			inquiry{"vqa", image, with(map[string]any{"prompt": "what?" + seed}), append([]string{"--prompt", "what?" + seed}, sampled...)},
			inquiry{"segment", image, with(map[string]any{"objects": []string{"cat", "dog"}}), append([]string{"cat ; dog"}, sampled...)},
			inquiry{"score", image, map[string]any{"prompt": "x", "suffixes": []string{"a" + seed, "b"}}, []string{"--prompt", "x", "--suffix", "a" + seed, "--suffix", "b"}},
		)
	}
	answers := make([]string, len(all))
	var wg sync.WaitGroup
	for i, q := range all {
		data, err := os.ReadFile(filepath.Join(images, q.image))
		if err != nil {
			t.Fatal(err)
		}
		q.fields["image"] = base64.StdEncoding.EncodeToString(data)
		body, _ := json.Marshal(q.fields)
		wg.Go(func() {
			resp, err := http.Post(address+"/v1/"+q.task, "application/json", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, _ := io.ReadAll(resp.Body)
			answers[i] = servedAnswer(t, got)
		})
	}
	wg.Wait()
	for i, q := range all {
		args := append([]string{q.task}, q.args...)
		if q.task == "segment" { // whose objects come first
			args = append(args, filepath.Join(images, q.image))
		} else {
			args = append([]string{q.task, filepath.Join(images, q.image)}, q.args...)
		}
		code, out, errs := runArgs(t, t.Context(), false, append(args, "-m", model, "--json", "-q")...)
		if want := servedAnswer(t, []byte(out)); code != 0 || answers[i] != want {
			t.Errorf("%s %s: %s\nthe command: %d %s %s", q.task, q.image, answers[i], code, want, errs)
		}
	}
}

// servedAnswer returns what of a result is the same each time.
func servedAnswer(t *testing.T, data []byte) string {
	t.Helper()
	var all struct {
		Prompt, Text string
		Tokens       []any
		Scores       []any
		Objects      any
		Finish       string `json:"finish_reason"`
		Confidence   *float64
	}
	if err := json.Unmarshal(data, &all); err != nil || len(all.Tokens)+len(all.Scores) == 0 {
		t.Errorf("%v: %.300s", err, data)
	}
	answer, _ := json.Marshal(all)
	return string(answer)
}
