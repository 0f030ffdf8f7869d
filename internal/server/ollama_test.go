package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// ollamaText puts the pieces of a text together, which ends as it should.
func ollamaText(t testing.TB, lines string) string {
	t.Helper()
	text, done := "", false
	for line := range strings.Lines(lines) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil || done || v["error"] != nil {
			t.Errorf("line %q (%v)", line, err)
			return text
		}
		for _, piece := range []any{v["response"], at(v, "message", "content")} {
			if piece != nil {
				text += piece.(string)
			}
		}
		done = v["done"] == true
	}
	if !done {
		t.Errorf("the text does not end: %q", lines)
	}
	return text
}

// TestOllamaBytes holds answers to the byte, what varies left out.
func TestOllamaBytes(t *testing.T) {
	url := serve(t, testOptions())
	counts := `"total_duration":_,"load_duration":_,"prompt_eval_count":148,"prompt_eval_duration":_,"eval_count":2,"eval_duration":_,"confidence":_}` + "\n"
	begin := `{"model":"built-in","created_at":_,`
	image := imageText(t, scene)
	chat := `{"model": "any:latest", "messages": [{"role": "user", "content": "caption en", "images": ["` + image + `"]}], "options": {"num_predict": 2, "num_ctx": 4096}, "keep_alive": "1m"`
	for _, c := range []struct{ name, path, body, want string }{
		{"generate", "/api/generate", `{"model": "x", "prompt": "caption en", "images": ["` + image + `"], "stream": false, "options": {"num_predict": 2.0}}`,
			begin + `"response":"a small","done":true,"done_reason":"length",` + counts},
		{"generate, streamed", "/api/generate", `{"model": "x", "prompt": "caption en", "images": ["data:image/png;base64,` + image + `"], "options": {"num_predict": 2}}`,
			begin + `"response":"a","done":false}` + "\n" + begin + `"response":" small","done":false}` + "\n" + begin + `"response":"","done":true,"done_reason":"length",` + counts},
		{"chat", "/api/chat", chat + `, "stream": false}`,
			begin + `"message":{"role":"assistant","content":"a small"},"done":true,"done_reason":"length",` + counts},
		{"chat, streamed", "/api/chat", chat + `}`,
			begin + `"message":{"role":"assistant","content":"a"},"done":false}` + "\n" + begin + `"message":{"role":"assistant","content":" small"},"done":false}` + "\n" +
				begin + `"message":{"role":"assistant","content":""},"done":true,"done_reason":"length",` + counts},
		{"load", "/api/generate", `{"model": "x", "keep_alive": 0}`, begin + `"response":"","done":true,"done_reason":"load"}` + "\n"},
		{"load for a chat", "/api/chat", `{"model": "x", "messages": []}`, begin + `"message":{"role":"assistant","content":""},"done":true,"done_reason":"load"}` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, got := post(t, url+c.path, c.body); steady(got) != c.want {
				t.Errorf("got  %s\nwant %s", steady(got), c.want)
			}
		})
	}
}

// TestOllamaMore asks for JSON, log-probabilities and objects.
func TestOllamaMore(t *testing.T) {
	url := serve(t, testOptions()) + "/api/generate"
	about := `{"images": ["` + imageText(t, scene) + `"], "prompt": `
	answer := asked(t, url, about+`"detect circle", "format": "json", "stream": false}`)
	var content any
	if err := json.Unmarshal([]byte(answer["response"].(string)), &content); err != nil || at(content, "objects", 0, "label") != "circle" || at(answer, "boxes", 0, "label") != "circle" {
		t.Errorf("%v (%v)", answer, err)
	}
	answer = asked(t, url, about+`"caption en", "logprobs": true, "top_logprobs": 1, "stream": false, "system": "be brief", "options": {"num_predict": 1}}`)
	if at(answer, "logprobs", 0, "top_logprobs", 0, "token") != "a" || at(answer, "warnings", 0) == nil {
		t.Errorf("%v", answer)
	}
}

// TestOllamaModels says which models there are, and which are open.
func TestOllamaModels(t *testing.T) {
	o := testOptions(builtIn("built-in"), builtIn("other"))
	url := serve(t, o)
	get := func(path string) (v map[string]any) {
		r, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v", path, r.StatusCode, err)
		}
		return v
	}
	if ps, tags := get("/api/ps"), get("/api/tags"); at(ps, "models", 0) != nil || at(tags, "models", 1, "name") != "other" || at(tags, "models", 1, "size") != 0. {
		t.Errorf("before: %v, %v", ps, tags)
	}
	show := asked(t, url+"/api/show", `{"model": "other:latest"}`)
	if at(show, "capabilities", 1) != "vision" || at(show, "details", "quantization_level") != "F16" || at(show, "model_info", "paligemma.context_length") != 8192. {
		t.Errorf("show: %v", show)
	}
	if ps, tags := get("/api/ps"), get("/api/tags"); at(ps, "models", 0, "name") != "other" || at(ps, "models", 0, "expires_at") == nil || at(tags, "models", 1, "size").(float64) < 1e6 {
		t.Errorf("after: %v, %v", ps, tags)
	}
	if v := get("/api/version"); v["version"] != "1.2.3" {
		t.Errorf("version %v", v)
	}
	for path, body := range map[string]string{"/api/show": `{"name": "none"}`, "/api/generate": `{"model": "none", "prompt": "x"}`, "/api/chat": `{"model": "none:latest"}`} {
		if r, got := post(t, url+path, body); r.StatusCode != http.StatusNotFound || !strings.HasPrefix(got, `{"error":"there is no model`) {
			t.Errorf("%s of an unknown model: %d %s", path, r.StatusCode, got)
		}
	}
	if r, got := post(t, url+"/api/show", `x`); r.StatusCode != http.StatusBadRequest || !strings.HasPrefix(got, `{"error":"`) {
		t.Errorf("%d %s", r.StatusCode, got)
	}
}
