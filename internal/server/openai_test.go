package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// TestChatBytes holds answers to the byte, what varies left out.
func TestChatBytes(t *testing.T) {
	url := serve(t, testOptions()) + "/v1/chat/completions"
	envelope := func(object string) string { return `{"id":_,"object":"` + object + `","created":_,"model":"built-in",` }
	piece := envelope("chat.completion.chunk") + `"choices":[{"index":0,`
	for _, c := range []struct{ name, body, want string }{
		{"whole", chatAbout(t, scene, "caption en", `"max_tokens": 2`), envelope("chat.completion") +
			`"choices":[{"index":0,"message":{"role":"assistant","content":"a small","refusal":null},"logprobs":null,"finish_reason":"length","confidence":_}],` +
			`"usage":{"prompt_tokens":148,"completion_tokens":2,"total_tokens":150}}` + "\n"},
		{"streamed", chatAbout(t, scene, "caption en", `"max_tokens": 2, "stream": true, "stream_options": {"include_usage": true}`),
			"data: " + piece + `"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				"data: " + piece + `"delta":{"content":"a"},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				"data: " + piece + `"delta":{"content":" small"},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				"data: " + piece + `"delta":{},"logprobs":null,"finish_reason":"length","confidence":_}]}` + "\n\n" +
				"data: " + envelope("chat.completion.chunk") + `"choices":[],"usage":{"prompt_tokens":148,"completion_tokens":2,"total_tokens":150}}` + "\n\n" +
				"data: [DONE]\n\n"},
		{"turns", strings.Replace(chatAbout(t, scene, "caption en", `"max_tokens": 1, "stream": true`), `[{"role"`, `[{"role": "system", "content": "x"}, {"role"`, 1),
			"data: " + piece + `"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				"data: " + piece + `"delta":{"content":"a"},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				"data: " + piece + `"delta":{},"logprobs":null,"finish_reason":"length","confidence":_}],"warnings":["messages of the system are ignored: a PaliGemma knows none"]}` + "\n\n" +
				"data: [DONE]\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, got := post(t, url, c.body)
			if got = steady(got); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if want := c.name == "turns"; (r.Header.Get(warningsHeader) != "") != want {
				t.Errorf("the header says %q", r.Header.Get(warningsHeader))
			}
			if kind := r.Header.Get("Content-Type"); (kind == "text/event-stream") != strings.HasPrefix(got, "data:") {
				t.Errorf("content type %s", kind)
			}
		})
	}
}

// TestCompletionBytes holds the shape of completions.
func TestCompletionBytes(t *testing.T) {
	url := serve(t, testOptions()) + "/v1/completions"
	body := func(more string) string {
		return `{"prompt": "caption en", "images": ["data:image/png;base64,` + imageText(t, scene) + `"], "max_tokens": 2` + more + `}`
	}
	envelope := `{"id":_,"object":"text_completion","created":_,"model":"built-in","choices":[{"index":0,`
	for _, c := range []struct{ more, want string }{
		{``, envelope + `"text":"a small","logprobs":null,"finish_reason":"length","confidence":_}],"usage":{"prompt_tokens":148,"completion_tokens":2,"total_tokens":150}}` + "\n"},
		{`, "stream": true`, "data: " + envelope + `"text":"a","logprobs":null,"finish_reason":null}]}` + "\n\n" +
			"data: " + envelope + `"text":" small","logprobs":null,"finish_reason":null}]}` + "\n\n" +
			"data: " + envelope + `"text":"","logprobs":null,"finish_reason":"length","confidence":_}]}` + "\n\n" + "data: [DONE]\n\n"},
	} {
		if _, got := post(t, url, body(c.more)); steady(got) != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.more, steady(got), c.want)
		}
	}
	answer := asked(t, url, body(`, "logprobs": 1`))
	logProbs := at(answer, "choices", 0, "logprobs")
	if !reflect.DeepEqual(at(logProbs, "tokens"), []any{"a", " small"}) || !reflect.DeepEqual(at(logProbs, "text_offset"), []any{0., 1.}) ||
		at(logProbs, "top_logprobs", 1, " small") != at(logProbs, "token_logprobs", 1) {
		t.Errorf("log-probabilities %v", logProbs)
	}
}

// TestLogProbs: a stream gives the log-probabilities that a whole answer gives, with
// the bytes of the text.
func TestLogProbs(t *testing.T) {
	url := serve(t, testOptions(tinyModel(t, "pg2-tiny")))
	for _, c := range []struct{ name, endpoint, body string }{
		{"chat", "/v1/chat/completions", `{"messages": [{"role": "user", "content": "x"}], "logprobs": true, "top_logprobs": 2`},
		{"completion", "/v1/completions", `{"prompt": "x", "logprobs": 2`},
	} {
		t.Run(c.name, func(t *testing.T) {
			more := `, "max_tokens": 40, "temperature": 3, "seed": 5, "stop": ["zzz", "z"]`
			whole := at(asked(t, url+c.endpoint, c.body+more+`}`), "choices", 0, "logprobs")
			_, stream := post(t, url+c.endpoint, c.body+more+`, "stream": true}`)
			streamed := map[string]any{}
			for _, data := range events(t, stream) {
				var v any
				if json.Unmarshal([]byte(data), &v) != nil {
					continue // [DONE]
				}
				part, _ := at(v, "choices", 0, "logprobs").(map[string]any)
				for key, value := range part {
					if list, ok := value.([]any); ok {
						before, _ := streamed[key].([]any)
						streamed[key] = append(before, list...)
					} else {
						streamed[key] = value
					}
				}
			}
			if !reflect.DeepEqual(whole, any(streamed)) {
				t.Errorf("streamed %v\nwhole    %v", streamed, whole)
			}
		})
	}
	answer := asked(t, url+"/v1/chat/completions", `{"messages": [{"role": "user", "content": "x"}], "logprobs": true, "max_tokens": 60, "temperature": 3, "seed": 5}`)
	var text []byte
	for i := 0; at(answer, "choices", 0, "logprobs", "content", i) != nil; i++ {
		list, _ := at(answer, "choices", 0, "logprobs", "content", i, "bytes").([]any)
		for _, b := range list {
			text = append(text, byte(b.(float64)))
		}
	}
	content := at(answer, "choices", 0, "message", "content").(string)
	if len(text) < 40 || strings.ToValidUTF8(string(text), "\uFFFD") != strings.ToValidUTF8(content, "\uFFFD") && !strings.Contains(content, "\uFFFD") {
		t.Errorf("the bytes are %q, the text %q", text, content)
	}
}

// TestEndToken: the end token is none of the text's.
func TestEndToken(t *testing.T) {
	url := serve(t, testOptions()) + "/v1/chat/completions"
	answer := asked(t, url, chatAbout(t, scene, "caption en", `"logprobs": true`))
	tokens, _ := at(answer, "choices", 0, "logprobs", "content").([]any)
	if len(tokens) != 12 || at(answer, "usage", "completion_tokens") != 12. || at(tokens, 11, "token") != " sign" {
		t.Errorf("%d tokens, usage %v, the last %v", len(tokens), answer["usage"], at(tokens, len(tokens)-1))
	}
}

// TestStopStrings ends texts before each part of them, whole and streamed.
func TestStopStrings(t *testing.T) {
	url := serve(t, testOptions())
	for from := 0; from < len(sceneCaption); from += 7 {
		for _, length := range []int{1, 4} {
			stop := sceneCaption[from:min(from+length, len(sceneCaption))]
			want := sceneCaption[:strings.Index(sceneCaption, stop)]
			more := `"stop": ["nothing", ` + asJSON(stop) + `]`
			answer := asked(t, url+"/v1/chat/completions", chatAbout(t, scene, "caption en", more))
			if got := at(answer, "choices", 0, "message", "content"); got != want || at(answer, "choices", 0, "finish_reason") != "stop" {
				t.Errorf("%q: %q, want %q", stop, got, want)
			}
			_, stream := post(t, url+"/v1/chat/completions", chatAbout(t, scene, "caption en", more+`, "stream": true`))
			if got, last := streamedText(t, stream, 0); got != want || last["finish_reason"] != "stop" {
				t.Errorf("%q: streamed %q, want %q", stop, got, want)
			}
			_, lines := post(t, url+"/api/generate", `{"prompt": "caption en", "images": ["`+imageText(t, scene)+`"], "options": {"stop": `+asJSON(stop)+`}}`)
			if got := ollamaText(t, lines); got != want {
				t.Errorf("%q: Ollama's %q, want %q", stop, got, want)
			}
		}
	}
}

// TestSeveralTexts asks for samples and for beams.
func TestSeveralTexts(t *testing.T) {
	url := serve(t, testOptions(tinyModel(t, "pg1-tiny"))) + "/v1/chat/completions" // f32: the same to the last digit
	content := func(answer any, i int) any { return at(answer, "choices", i, "message", "content") }
	sampled := `"temperature": 2, "max_tokens": 8, `
	three := asked(t, url, chatAbout(t, scene, "caption en", sampled+`"n": 3, "seed": 40`))
	tokens := 0.
	for i := range 3 {
		alone := asked(t, url, chatAbout(t, scene, "caption en", sampled+fmt.Sprintf(`"seed": %d`, 40+i)))
		if content(three, i) != content(alone, 0) || at(three, "choices", i, "index") != float64(i) {
			t.Errorf("sample %d is %q, alone %q", i, content(three, i), content(alone, 0))
		}
		tokens += at(alone, "usage", "completion_tokens").(float64)
	}
	if at(three, "usage", "prompt_tokens") != at(asked(t, url, chatAbout(t, scene, "caption en", `"max_tokens": 1`)), "usage", "prompt_tokens") || at(three, "usage", "completion_tokens") != tokens {
		t.Errorf("usage %v, want %v tokens written", at(three, "usage"), tokens)
	}
	_, stream := post(t, url, chatAbout(t, scene, "caption en", sampled+`"n": 3, "seed": 40, "stream": true`))
	for i := range 3 {
		if got, last := streamedText(t, stream, i); got != content(three, i) || last["finish_reason"] == nil {
			t.Errorf("sample %d streamed: %q, want %q", i, got, content(three, i))
		}
	}
	_, stream = post(t, url, `{"messages": [{"role": "system"}, {"role": "user", "content": "x"}], "temperature": 2, "max_tokens": 8, "n": 3, "stream": true}`)
	if strings.Count(stream, `"warnings":`) != 1 {
		t.Errorf("not one warning: %s", stream)
	}
	url = serve(t, testOptions()) + "/v1/chat/completions"
	beams := asked(t, url, chatAbout(t, scene, "caption en", `"beams": 3, "n": 3`))
	first, second := at(beams, "choices", 0, "score"), at(beams, "choices", 1, "score")
	if content(beams, 0) != sceneCaption || content(beams, 1) == sceneCaption || first.(float64) < second.(float64) || content(beams, 2) == nil {
		t.Errorf("beams: %v", beams["choices"])
	}
	_, stream = post(t, url, chatAbout(t, scene, "caption en", `"beams": 3, "n": 2, "stream": true`))
	if got, _ := streamedText(t, stream, 1); got != content(beams, 1) {
		t.Errorf("the second beam streamed: %q, want %q", got, content(beams, 1))
	}
}

// TestOwnParameters asks for what OpenAI's interface lacks.
func TestOwnParameters(t *testing.T) {
	url := serve(t, testOptions()) + "/v1/chat/completions"
	rated := asked(t, url, chatAbout(t, scene, "caption en", `"choices_text": ["two stars", `+asJSON(sceneCaption)+`]`))
	if at(rated, "choices", 0, "message", "content") != sceneCaption || at(rated, "choices", 0, "scores", 1, "suffix") != "two stars" || at(rated, "choices", 0, "finish_reason") != "stop" || at(rated, "usage", "completion_tokens") != 12. {
		t.Errorf("rated: %v", rated["choices"])
	}
	found := asked(t, url, chatAbout(t, scene, "segment circle", `"stop_repeats": true`))
	choice := at(found, "choices", 0)
	if at(choice, "objects", 0, "label") != "circle" || at(choice, "boxes", 0, "label") != "circle" || at(choice, "masks", 0, "rle", "counts") == nil || at(choice, "objects", 0, "mask", "rle", "counts") == nil {
		t.Errorf("objects: %v", choice)
	}
	for _, more := range []string{`"response_format": {"type": "json_object"}`, `"response_format": {"type": "json_object"}, "stream": true`} {
		_, text := post(t, url, chatAbout(t, scene, "detect circle", more))
		content := ""
		if strings.HasPrefix(text, "data:") {
			content, _ = streamedText(t, text, 0)
		} else {
			var v any
			_ = json.Unmarshal([]byte(text), &v)
			content, _ = at(v, "choices", 0, "message", "content").(string)
		}
		var v any
		if err := json.Unmarshal([]byte(content), &v); err != nil || at(v, "objects", 0, "label") != "circle" || at(v, "boxes", 0, "box", 3) == nil || at(v, "prompt") != "detect circle" {
			t.Errorf("%s: %s (%v)", more, content, err)
		}
	}
	boxed := asked(t, url, chatAbout(t, scene, "caption", `"box": [0, 0, 100, 100], "response_format": {"type": "json_object"}`))
	if content, _ := at(boxed, "choices", 0, "message", "content").(string); !strings.Contains(content, `"prompt":"caption <loc0000><loc0000><loc`) {
		t.Errorf("with a box: %s", content)
	}
	if r, text := post(t, url, chatAbout(t, scene, "caption", `"box": [0, 0, 1000, 1000]`)); r.StatusCode != http.StatusBadRequest || !strings.Contains(text, "leaves the image") {
		t.Errorf("a box outside: %d %s", r.StatusCode, text)
	}
}

// TestModelsList lists models and shows one.
func TestModelsList(t *testing.T) {
	o := testOptions(builtIn("built-in"), builtIn("other"))
	o.Models[1].Name, o.Models[1].Adapters = "google/other", []Adapter{{Name: "a"}}
	url := serve(t, o)
	get := func(path string) (int, string) {
		r, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var v any
		_ = json.NewDecoder(r.Body).Decode(&v)
		data, _ := json.Marshal(v)
		return r.StatusCode, steady(string(data))
	}
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/v1/models", 200, `{"data":[{"created":_,"id":_,"object":"model","owned_by":"paligemma"},{"created":_,"id":_,"lora":["a"],"object":"model","owned_by":"paligemma"}],"object":"list"}`},
		{"/v1/models/google/other", 200, `{"created":_,"id":_,"lora":["a"],"object":"model","owned_by":"paligemma"}`},
		{"/v1/models/none", 404, `{"error":{"code":"not_found","message":"there is no model \"none\"","param":"model","type":"invalid_request_error"}}`},
		{"/v1/chat/completions", 405, `{"error":{"code":"invalid_request","message":"want the method POST","param":null,"type":"invalid_request_error"}}`},
		{"/v2", 404, `{"error":{"code":"not_found","message":"there is nothing at \"/v2\"","param":null,"type":"invalid_request_error"}}`},
		{"/api/embed", 404, `{"error":"there is nothing at \"/api/embed\""}`},
		{"/v1/responses", 404, `{"error":{"code":"not_found","message":"there is nothing at \"/v1/responses\": ask at /v1/chat/completions","param":null,"type":"invalid_request_error"}}`},
		{"/chat/completions", 404, `{"error":{"code":"not_found","message":"there is nothing at \"/chat/completions\": did you mean /v1/chat/completions?","param":null,"type":"invalid_request_error"}}`},
		{"/v1/v1/models", 404, `{"error":{"code":"not_found","message":"there is nothing at \"/v1/v1/models\": did you mean /v1/models?","param":null,"type":"invalid_request_error"}}`},
		{"/v1/completions/", 404, `{"error":{"code":"not_found","message":"there is nothing at \"/v1/completions/\": did you mean /v1/completions?","param":null,"type":"invalid_request_error"}}`},
		{"/v1/api/tags", 404, `{"error":{"code":"not_found","message":"there is nothing at \"/v1/api/tags\": did you mean /api/tags?","param":null,"type":"invalid_request_error"}}`},
		{"/api/chat", 405, `{"error":"want the method POST"}`},
	} {
		if status, got := get(c.path); status != c.status || got != c.want {
			t.Errorf("%s: %d %s\nwant %d %s", c.path, status, got, c.status, c.want)
		}
	}
	for _, stream := range []string{"true", "false"} {
		if r, got := post(t, url+"/v1/chat/completions", user(`"x"`, `, "model": "none", "stream": `+stream)); r.StatusCode != http.StatusNotFound || !strings.Contains(got, `"param":"model"`) {
			t.Errorf("stream %s of an unknown model: %d %s", stream, r.StatusCode, got)
		}
	}
}

// TestErrorStatus: an error before the first token has a status, also of a stream.
func TestErrorStatus(t *testing.T) {
	o := testOptions()
	o.MaxBody = 1 << 20
	url := serve(t, o)
	for _, c := range []struct {
		name, path, body string
		status           int
		code             string
	}{
		{"not base64", "/v1/chat/completions", user(`[{"type": "image_url", "image_url": "data:image/png;base64,!"}]`, `%s`), 400, "invalid_request"},
		{"not a picture", "/v1/chat/completions", user(`[{"type": "image_url", "image_url": "data:image/png;base64,AAAA"}]`, `%s`), 415, "unsupported_image"},
		{"a long prompt", "/v1/chat/completions", user(`"`+strings.Repeat("a b c ", 9000)+`"`, `%s`), 400, "prompt_too_long"},
		{"several long prompts", "/v1/completions", `{"prompt": ["` + strings.Repeat("a b c ", 9000) + `", "` + strings.Repeat("a b c ", 9000) + `"]%s}`, 400, "prompt_too_long"},
		{"not JSON", "/v1/completions", `x%.0s`, 400, "invalid_request"},
		{"a large body", "/v1/completions", `"` + strings.Repeat("a", 1<<20) + `%.0s"`, 413, "too_large"},
		{"Ollama's picture", "/api/generate", `{"images": ["AAAA"]%s}`, 415, ""},
		{"Ollama's large body", "/api/chat", `"` + strings.Repeat("a", 1<<20) + `%.0s"`, 413, ""},
	} {
		for _, stream := range []string{`, "stream": false`, `, "stream": true`} {
			r, got := post(t, url+c.path, fmt.Sprintf(c.body, stream))
			var v any
			if err := json.Unmarshal([]byte(got), &v); err != nil || r.StatusCode != c.status {
				t.Errorf("%s%s: %d %s, want %d", c.name, stream, r.StatusCode, got, c.status)
				continue
			}
			if message, ok := at(v, "error").(string); c.code == "" && (!ok || message == "") || c.code != "" && at(v, "error", "code") != c.code {
				t.Errorf("%s%s: %s, want %s", c.name, stream, got, c.code)
			}
		}
	}
}

// TestParallelMixed: requests of all kinds, together, give what each gives alone.
func TestParallelMixed(t *testing.T) {
	o := testOptions(tinyModel(t, "pg1-tiny"))
	o.Parallel = 16
	url := serve(t, o)
	type request struct{ path, body string }
	var requests []request
	pictures := []string{"images/scene.png", "images/gradient.png", "images/photo.jpg"}
	for i := range 4 {
		sampled := fmt.Sprintf(`"max_tokens": %d, "temperature": 2, "seed": %d`, 20+9*i, i)
		picture := pictures[i%len(pictures)]
		requests = append(requests,
			request{"/v1/chat/completions", chatAbout(t, picture, "caption en", sampled+`, "logprobs": true, "top_logprobs": 2`)},
			request{"/v1/chat/completions", chatAbout(t, picture, "detect cat", sampled+`, "stream": true`)},
			request{"/api/generate", fmt.Sprintf(`{"prompt": "x", "images": ["%s"], "options": {"num_predict": %d}}`, imageText(t, picture), 10+i)},
		)
	}
	requests = append(requests,
		request{"/v1/chat/completions", chatAbout(t, pictures[0], "segment cat", `"beams": 3, "n": 2, "max_tokens": 12`)},
		request{"/v1/chat/completions", chatAbout(t, pictures[1], "which?", `"choices_text": ["cat", "dog"]`)},
		request{"/v1/completions", `{"prompt": ["a", "b"], "max_tokens": 30, "n": 2, "temperature": 1, "seed": 3}`},
		request{"/v1/chat/completions", chatAbout(t, pictures[2], "caption en", `"max_tokens": 50, "stop": ["a", "e"]`)},
	)
	alone := make([]string, len(requests))
	for i, r := range requests {
		_, answer := post(t, url+r.path, r.body)
		alone[i] = comparable(t, answer)
	}
	var wg sync.WaitGroup
	for range 2 {
		for i, r := range requests {
			wg.Go(func() {
				if _, answer := post(t, url+r.path, r.body); comparable(t, answer) != alone[i] {
					t.Errorf("request %d together: %s\nalone: %s", i, comparable(t, answer), alone[i])
				}
			})
		}
		wg.Wait()
	}
}

// comparable is what an answer says, however it was cut into pieces.
func comparable(t testing.TB, answer string) string {
	switch {
	case strings.HasPrefix(answer, "data:"):
		text, last := streamedText(t, answer, 0)
		data, _ := json.Marshal(last)
		return text + string(data)
	case strings.HasPrefix(answer, `{"error"`):
		t.Error(answer)
	case strings.Contains(answer, `"response":`):
		return ollamaText(t, answer)
	}
	return regexpIDs.ReplaceAllString(answer, "_")
}
