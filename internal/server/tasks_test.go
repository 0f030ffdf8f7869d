package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// taskServer is the server that most tests of tasks ask.
var taskServer = sync.OnceValues(func() (*httptest.Server, error) {
	s, err := New(testOptions())
	if err != nil {
		return nil, err
	}
	return httptest.NewServer(s.Handler()), nil
})

// taskURL returns the address of a task's endpoint.
func taskURL(t *testing.T, task string) string {
	t.Helper()
	s, err := taskServer()
	if err != nil {
		t.Fatal(err)
	}
	return s.URL + "/v1/" + task
}

// taskForm makes a form: fields, and files of the picture.
func taskForm(t *testing.T, fields url.Values, files int) (kind string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, values := range fields {
		for _, value := range values {
			if err := w.WriteField(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range files {
		part, err := w.CreateFormFile("image", "scene.png")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(imageBytes(t, scene)); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}

// taskCase is a request of a task, and what its answer must be.
type taskCase struct {
	task, kind string
	body       []byte
	header     map[string]string
}

// send sends the request.
func (c taskCase) send(t *testing.T) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, taskURL(t, c.task), bytes.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if c.kind != "" {
		r.Header.Set("Content-Type", c.kind)
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	return exchange(t, r, c.body)
}

// jsonCase is a request in JSON; @ stands for the picture in base64.
func jsonCase(t *testing.T, task, body string) taskCase {
	t.Helper()
	return taskCase{task: task, kind: "application/json", body: []byte(strings.ReplaceAll(body, "@", imageText(t, scene)))}
}

// answerOf returns the object that a request is answered with, without its timings.
func (c taskCase) answer(t *testing.T) map[string]any {
	t.Helper()
	resp, data := c.send(t)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d: %s", c.task, resp.StatusCode, data)
	}
	var answer map[string]any
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	delete(answer, "timings")
	return answer
}

// Each task gives the command's object.
func TestTasks(t *testing.T) {
	for _, c := range []struct {
		name, task, body string
		want             map[string]string // of some fields, as JSON; "": it is there
	}{
		{"caption", "caption", `{"image": "@"}`, map[string]string{"task": `"caption"`, "prompt": `"caption en"`, "text": "", "tokens": "", "confidence": "", "finish_reason": `"stop"`, "model": `"built-in"`, "width": "408", "height": "478"}},
		{"caption in Spanish", "caption", `{"image": "data:image/png;base64,@", "lang": "es", "style": "short"}`, map[string]string{"prompt": `"cap es"`}},
		{"caption of a part", "caption", `{"image": "@", "box": [0, 0, 204, 239]}`, map[string]string{"prompt": `"caption \u003cloc0000\u003e\u003cloc0000\u003e\u003cloc0512\u003e\u003cloc0512\u003e"`}},
		{"raw prompt", "caption", `{"image": "@", "prompt": "ocr", "max_tokens": 1, "box": null}`, map[string]string{"prompt": `"ocr"`, "task": `"caption"`, "finish_reason": `"length"`}},
		{"vqa", "vqa", `{"image": "@", "prompt": "what color is the ring?"}`, map[string]string{"prompt": `"what color is the ring?"`, "text": ""}},
		{"vqa in a language", "vqa", `{"image": "@", "prompt": "what color is the ring?", "lang": "en"}`, map[string]string{"prompt": `"answer en what color is the ring?"`}},
		{"vqa with choices", "vqa", `{"image": "@", "prompt": "what color is the ring?", "choices": ["red", "blue"]}`, map[string]string{"text": "", "scores": ""}},
		{"ocr", "ocr", `{"image": "@"}`, map[string]string{"prompt": `"ocr"`}},
		{"beams", "ocr", `{"image": "@", "beams": 3, "num_return": 2}`, map[string]string{"alternatives": ""}},
		{"log-probabilities", "ocr", `{"image": "@", "logprobs": 2}`, map[string]string{"logprobs": ""}},
		{"sampled", "ocr", `{"image": "@", "temperature": 1.5, "top_k": 5, "top_p": 0.9, "seed": 18446744073709551615}`, map[string]string{"text": ""}},
		{"detect", "detect", `{"image": "@", "objects": ["ring", "star"]}`, map[string]string{"prompt": `"detect ring ; star"`, "objects": "", "boxes": "", "dropped": ""}},
		{"detect one", "detect", `{"image": "@", "objects": "ring", "stop_repeats": true}`, map[string]string{"prompt": `"detect ring"`}},
		{"detect by prompt", "detect", `{"image": "@", "prompt": "detect ring"}`, map[string]string{"prompt": `"detect ring"`, "objects": ""}},
		{"segment", "segment", `{"image": "@", "objects": ["circle"]}`, map[string]string{"prompt": `"segment circle"`, "masks": ""}},
		{"score", "score", `{"image": "@", "prompt": "ocr", "suffixes": ["a", ""]}`, map[string]string{"scores": ""}},
		{"score without an image", "score", `{"prompt": "", "suffixes": ["a"]}`, map[string]string{"scores": ""}},
		{"generate", "generate", `{"image": "@", "prompt": "detect ring"}`, map[string]string{"objects": ""}},
		{"generate without an image", "generate", `{"prompt": "", "max_tokens": 3}`, map[string]string{"text": ""}},
		{"generate of two images", "generate", `{"images": ["@", "@"], "prompt": "ocr", "max_tokens": 3}`, map[string]string{"images": `["images[0]","images[1]"]`}},
		{"parse", "parse", `{"text": "<loc0000><loc0000><loc1023><loc0512> cat", "size": "100x50"}`, map[string]string{"task": `"parse"`, "width": "100", "height": "50", "objects": "", "masks": "[]"}},
		{"parse masks", "parse", `{"text": "<loc0000><loc0000><loc1023><loc0512><seg000><seg001><seg002><seg003><seg004><seg005><seg006><seg007><seg008><seg009><seg010><seg011><seg012><seg013><seg014><seg015> cat", "image": "@"}`, map[string]string{"width": "408", "masks": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := jsonCase(t, c.task, c.body).answer(t)
			for field, want := range c.want {
				got, ok := answer[field]
				if !ok || want != "" && asJSON(got) != want {
					t.Errorf("%s is %s, want %s", field, asJSON(got), want)
				}
			}
			if _, wrote := answer["model"]; wrote == (c.task == "parse") {
				t.Errorf("model is %v", answer["model"])
			}
		})
	}
}

// The masks of parse are decoded by the model's decoder.
func TestParseMasks(t *testing.T) {
	answer := jsonCase(t, "segment", `{"image": "@", "objects": ["circle"]}`).answer(t)
	text, _ := answer["text"].(string)
	parsed := jsonCase(t, "parse", fmt.Sprintf(`{"text": %s, "size": "408x478"}`, asJSON(text))).answer(t)
	objects := answer["objects"].([]any)
	if len(objects) == 0 || objects[0].(map[string]any)["mask"].(map[string]any)["rle"] == nil {
		t.Fatalf("no mask: %s", asJSON(objects))
	}
	for i := range objects {
		delete(objects[i].(map[string]any), "confidence")
	}
	if got, want := asJSON(parsed["objects"]), asJSON(objects); got != want {
		t.Errorf("parse gives %s, segment %s", got, want)
	}
}

// Every form of a request is answered in the same way.
func TestTaskForms(t *testing.T) {
	fields := url.Values{"objects": {"ring", "star"}, "max_tokens": {"60"}}
	form, formBody := taskForm(t, fields, 1)
	joined, joinedBody := taskForm(t, url.Values{"objects": {"ring ; star"}, "max_tokens": {"60"}, "image": {imageText(t, scene)}}, 0)
	coded := url.Values{"objects": {"ring;star"}, "max_tokens": {"60"}, "image": {"data:image/png;base64," + imageText(t, scene)}}
	want := jsonCase(t, "detect", `{"image": "@", "objects": ["ring", "star"], "max_tokens": 60}`).answer(t)
	for _, c := range []struct {
		name, image string
		request     taskCase
	}{
		{"form", "scene.png", taskCase{task: "detect", kind: form, body: formBody}},
		{"form with text", "", taskCase{task: "detect", kind: joined, body: joinedBody}},
		{"coded form", "", taskCase{task: "detect", kind: "application/x-www-form-urlencoded", body: []byte(coded.Encode())}},
		{"coded form with a charset", "", taskCase{task: "detect", kind: "application/x-www-form-urlencoded; charset=UTF-8", body: []byte(coded.Encode())}},
		{"body", "", taskCase{task: "detect?objects=ring&objects=star&max_tokens=60", kind: "image/png", body: imageBytes(t, scene)}},
		{"bytes", "", taskCase{task: "detect?objects=ring%3B+star&max_tokens=60", kind: "application/octet-stream", body: imageBytes(t, scene)}},
		{"curl -d", "", taskCase{task: "detect?max_tokens=60", kind: "application/x-www-form-urlencoded", body: jsonCase(t, "", ` {"image": "@", "objects": "ring ; star"}`).body}},
		{"no type", "", taskCase{task: "detect", body: jsonCase(t, "", `{"image": "@", "objects": ["ring", "star"], "max_tokens": 60}`).body}},
		{"slashes escaped", "", taskCase{task: "detect", kind: "application/json; charset=utf-8", body: []byte(strings.ReplaceAll(string(jsonCase(t, "", `{"image": "@", "objects": ["ring", "star"], "max_tokens": 60}`).body), "/", `\/`))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.request.answer(t)
			if image, _ := got["image"].(string); image != c.image {
				t.Errorf("image is %q, want %q", image, c.image)
			}
			delete(got, "image")
			if asJSON(got) != asJSON(want) {
				t.Errorf("%s, want %s", asJSON(got), asJSON(want))
			}
		})
	}
}

// Several files of a form are one prompt's.
func TestTaskManyFiles(t *testing.T) {
	kind, body := taskForm(t, url.Values{"prompt": {"ocr"}, "max_tokens": {"2"}}, 2)
	answer := taskCase{task: "generate", kind: kind, body: body}.answer(t)
	if got := asJSON(answer["images"]); got != `["scene.png","scene.png"]` {
		t.Errorf("images are %s", got)
	}
}

// Bad requests say what is wrong, and with which field.
func TestTaskErrors(t *testing.T) {
	part := func(name, file, kind, value string) taskCase {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		header := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name=%q; filename=%q`, name, file)}}
		if file == "" {
			header.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q`, name))
		}
		if kind != "" {
			header.Set("Content-Type", kind)
		}
		p, err := w.CreatePart(header)
		if err == nil {
			_, err = io.WriteString(p, value)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		return taskCase{task: "ocr", kind: w.FormDataContentType(), body: b.Bytes()}
	}
	many := func(n int) (string, []byte) { return taskForm(t, url.Values{"prompt": {"a"}}, n) }
	manyKind, manyBody := many(5)
	cut, cutBody := many(1)
	for _, c := range []struct {
		name        string
		request     taskCase
		status      int
		param, says string
	}{
		{"no JSON", jsonCase(t, "ocr", `nonsense`), 400, "", `"n" where a value is wanted`},
		{"empty", taskCase{task: "ocr"}, 400, "image", "image is missing"},
		{"a list", jsonCase(t, "ocr", `[]`), 400, "", "a list where an object is wanted"},
		{"two objects", jsonCase(t, "ocr", `{"image": "@"} {}`), 400, "", "something follows its end"},
		{"cut short", jsonCase(t, "ocr", `{"image": "@"`), 400, "", "it ends where"},
		{"deep", jsonCase(t, "ocr", `{"image": `+strings.Repeat("[", 1e5)), 400, "image", "nested more than 32 deep"},
		{"bad UTF-8", jsonCase(t, "ocr", "{\"image\": \"\xff\"}"), 400, "", "not valid utf-8"},
		{"misspelled field", jsonCase(t, "ocr", `{"image": "@", "max_token": 3}`), 400, "max_token", `ocr has no field "max_token" (did you mean max_tokens?)`},
		{"field of another task", jsonCase(t, "ocr", `{"image": "@", "suffixes": []}`), 400, "suffixes", `ocr has no field "suffixes"`},
		{"key twice", jsonCase(t, "ocr", `{"image": "@", "image": "@"}`), 400, "", `key "image" is there twice`},
		{"twice, in the query", jsonCase(t, "ocr?max_tokens=3", `{"image": "@", "max_tokens": 3}`), 400, "max_tokens", "max_tokens is there twice"},
		{"unknown in the query", jsonCase(t, "ocr?x=3", `{"image": "@"}`), 400, "x", `ocr has no field "x"`},
		{"malformed query", jsonCase(t, "ocr?max_tokens=%zz", `{"image": "@"}`), 400, "", "the query is malformed"},
		{"bad UTF-8 in the query", jsonCase(t, "caption?lang=%ff", `{"image": "@"}`), 400, "lang", "not valid utf-8"},
		{"no image", jsonCase(t, "caption", `{}`), 400, "image", "image is missing"},
		{"image is a number", jsonCase(t, "caption", `{"image": 1}`), 400, "image", "1 where a string is wanted"},
		{"empty image", jsonCase(t, "caption", `{"image": ""}`), 400, "image", "empty"},
		{"no base64", jsonCase(t, "caption", `{"image": "*"}`), 400, "image", "base64"},
		{"not a picture", jsonCase(t, "caption", `{"image": "AAAA"}`), 415, "image", ""},
		{"address", jsonCase(t, "caption", `{"image": "http://127.0.0.1/a.png"}`), 400, "image", ""},
		{"long address", jsonCase(t, "caption", `{"image": "http:`+strings.Repeat("a", 9000)+`"}`), 400, "image", "longer than 8192"},
		{"large picture", jsonCase(t, "caption", `{"image": "`+strings.Repeat("A", 3<<20)+`"}`), 413, "image", "more than the limit"},
		{"large body", jsonCase(t, "caption", `{"image": "`+strings.Repeat("A", 5<<20)+`"}`), 413, "", "more than the limit of 4.2 MB"},
		{"two images of caption", jsonCase(t, "caption?image=AAAA&image=AAAA", `{}`), 400, "image", "takes one image"},
		{"image and images", jsonCase(t, "generate", `{"image": "@", "images": ["@"], "prompt": ""}`), 400, "images", "exclude each other"},
		{"second of images", jsonCase(t, "generate", `{"images": ["@", "AAAA"], "prompt": ""}`), 415, "images[1]", ""},
		{"many images", jsonCase(t, "generate", `{"images": ["","","","",""], "prompt": ""}`), 400, "images", "more than 3 images"},
		{"very many images", jsonCase(t, "generate", `{"images": [""`+strings.Repeat(`,""`, 10_000)+`], "prompt": ""}`), 400, "images", "more than 1000"},
		{"many files", taskCase{task: "generate", kind: manyKind, body: manyBody}, 400, "images", "more than 3 images"},
		{"lang", jsonCase(t, "caption", `{"image": "@", "lang": "en fr"}`), 400, "lang", "is not a code"},
		{"style", jsonCase(t, "caption", `{"image": "@", "style": "long"}`), 400, "style", "use short, coco or detailed"},
		{"prompt and style", jsonCase(t, "caption", `{"image": "@", "prompt": "a", "style": "coco"}`), 400, "style", "prompt and style exclude each other"},
		{"box and lang", jsonCase(t, "caption", `{"image": "@", "box": [0,0,1,1], "lang": "en"}`), 400, "lang", "exclude each other"},
		{"box of three", jsonCase(t, "caption", `{"image": "@", "box": [0,0,1]}`), 400, "box", "x0, y0, x1, y1"},
		{"box of five", jsonCase(t, "caption", `{"image": "@", "box": [0,0,1,1,1]}`), 400, "box", "x0, y0, x1, y1"},
		{"box of texts", jsonCase(t, "caption", `{"image": "@", "box": ["0",0,1,1]}`), 400, "box", "a number is wanted"},
		{"box of many", jsonCase(t, "caption", `{"image": "@", "box": "`+strings.Repeat(",", 1<<20+1)+`"}`), 400, "box", "longer than"},
		{"objects of one text", jsonCase(t, "detect", `{"image": "@", "objects": "`+strings.Repeat("a;", 1000)+`a"}`), 400, "objects", "more than 1000 in a list"},
		{"empty box", jsonCase(t, "caption", `{"image": "@", "box": [0,0,0,1]}`), 400, "box", "0 ≤ x0 < x1"},
		{"box outside", jsonCase(t, "caption", `{"image": "@", "box": "0,0,449,10"}`), 400, "box", "leaves the image"},
		{"box without an image", jsonCase(t, "generate", `{"prompt": "", "box": [0,0,1,1]}`), 400, "box", "a box is of one image"},
		{"no question", jsonCase(t, "vqa", `{"image": "@"}`), 400, "prompt", "prompt is missing"},
		{"no prompt", jsonCase(t, "generate", `{"prompt": null}`), 400, "prompt", "prompt is missing"},
		{"lang of a question", jsonCase(t, "vqa", `{"image": "@", "prompt": "a", "lang": "x y"}`), 400, "lang", "is not a code"},
		{"one choice", jsonCase(t, "vqa", `{"image": "@", "prompt": "a", "choices": ["a"]}`), 400, "choices", "two or more"},
		{"choice twice", jsonCase(t, "vqa", `{"image": "@", "prompt": "a", "choices": "a,a"}`), 400, "choices", "is there twice"},
		{"choices and beams", jsonCase(t, "vqa", `{"image": "@", "prompt": "a", "choices": ["a", "b"], "beams": 2}`), 400, "beams", "exclude each other"},
		{"no objects", jsonCase(t, "detect", `{"image": "@"}`), 400, "objects", "objects are missing"},
		{"empty object", jsonCase(t, "segment", `{"image": "@", "objects": ["a", ""]}`), 400, "objects", "one of them is empty"},
		{"objects and prompt", jsonCase(t, "detect", `{"image": "@", "prompt": "detect a", "objects": ["a"]}`), 400, "objects", "exclude each other"},
		{"no suffixes", jsonCase(t, "score", `{"prompt": "a"}`), 400, "suffixes", "suffixes are missing"},
		{"many suffixes", jsonCase(t, "score", `{"prompt": "a", "suffixes": [""`+strings.Repeat(`,""`, 1000)+`]}`), 400, "suffixes", "more than 1000"},
		{"score does not stream", jsonCase(t, "score", `{"prompt": "a", "suffixes": ["a"], "stream": true}`), 400, "stream", "no field"},
		{"no text", jsonCase(t, "parse", `{"size": "1x1"}`), 400, "text", "text is missing"},
		{"no size", jsonCase(t, "parse", `{"text": "a"}`), 400, "size", "size is missing"},
		{"size and image", jsonCase(t, "parse", `{"text": "a", "size": "1x1", "image": "@"}`), 400, "size", "exclude each other"},
		{"bad size", jsonCase(t, "parse", `{"text": "a", "size": "1"}`), 400, "size", "640x480"},
		{"huge size", jsonCase(t, "parse", `{"text": "a", "size": "1x1073741825"}`), 400, "size", "longer than"},
		{"no tokens", jsonCase(t, "ocr", `{"image": "@", "max_tokens": 0}`), 400, "max_tokens", "max_tokens 0: want 1 or more"},
		{"tokens in words", jsonCase(t, "ocr", `{"image": "@", "max_tokens": "x"}`), 400, "max_tokens", "a number is wanted"},
		{"half a token", jsonCase(t, "ocr", `{"image": "@", "max_tokens": 1.5}`), 400, "max_tokens", "an integer"},
		{"very many tokens", jsonCase(t, "ocr", `{"image": "@", "max_tokens": 99999999999}`), 400, "max_tokens", "an integer"},
		{"temperature", jsonCase(t, "ocr", `{"image": "@", "temperature": -1}`), 400, "temperature", "want 0 or more"},
		{"infinite temperature", jsonCase(t, "ocr?temperature=inf", `{"image": "@"}`), 400, "temperature", "want 0 or more"},
		{"top-k", jsonCase(t, "ocr", `{"image": "@", "top_k": -1}`), 400, "top_k", "top_k -1: want 0 or more"},
		{"top-p", jsonCase(t, "ocr", `{"image": "@", "top_p": 1.1}`), 400, "top_p", "want 0 to 1"},
		{"top-p 0", jsonCase(t, "ocr", `{"image": "@", "top_p": 0}`), 400, "top_p", "want more than 0"},
		{"seed", jsonCase(t, "ocr", `{"image": "@", "seed": -1}`), 400, "seed", "an integer from 0"},
		{"beams", jsonCase(t, "ocr", `{"image": "@", "beams": 0}`), 400, "beams", "want 1 to"},
		{"beams and temperature", jsonCase(t, "ocr", `{"image": "@", "beams": 2, "temperature": 1}`), 400, "beams", "beams and temperature exclude each other"},
		{"returned texts", jsonCase(t, "ocr", `{"image": "@", "num_return": 2}`), 400, "num_return", "want 1 to the number of beams, 1"},
		{"log-probabilities", jsonCase(t, "ocr", `{"image": "@", "logprobs": 101}`), 400, "logprobs", "to 100"},
		{"beams and repeats", jsonCase(t, "detect", `{"image": "@", "objects": "a", "beams": 2, "stop_repeats": true}`), 400, "beams", "stop_repeats exclude"},
		{"stream", jsonCase(t, "ocr", `{"image": "@", "stream": 1}`), 400, "stream", "true or false"},
		{"long prompt", jsonCase(t, "generate", `{"prompt": "`+strings.Repeat("a ", 60_000)+`"}`), 400, "", "tokens"},
		{"very long prompt", jsonCase(t, "generate", `{"prompt": "`+strings.Repeat("a", 1<<20+1)+`"}`), 400, "prompt", "longer than 1,048,576 bytes"},
		{"no boundary", taskCase{task: "ocr", kind: "multipart/form-data", body: formBody(t)}, 400, "", "boundary"},
		{"form cut short", taskCase{task: "ocr", kind: cut, body: cutBody[:len(cutBody)-30]}, 400, "", "breaks off"},
		{"field of a form", part("promt", "", "", "a"), 400, "promt", "did you mean prompt?"},
		{"number of a form", part("max_tokens", "", "", "x"), 400, "max_tokens", "an integer is wanted"},
		{"bad UTF-8 of a form", part("prompt", "", "", "\xff"), 400, "prompt", "not valid utf-8"},
		{"long text of a form", part("prompt", "", "", strings.Repeat("a", 1<<20+1)), 400, "prompt", "longer than"},
		{"empty file", part("image", "a.png", "image/png", ""), 400, "image", "empty"},
		{"large file", part("image", "a.png", "image/png", strings.Repeat("a", 1<<20+1)), 413, "image", "more than the limit of 1.0 MB"},
		{"damaged file", part("image", "a.png", "image/png", string(imageBytes(t, scene)[:2000])), 400, "image", ""},
		{"text that is no picture", part("image", "", "text/plain", "*"), 400, "image", "base64"},
		{"bytes that are no picture", part("image", "", "application/octet-stream", "*"), 415, "image", ""},
		{"part without a name", part("", "", "", "a"), 400, "", "no field"},
		{"empty picture", taskCase{task: "ocr", kind: "image/png"}, 400, "image", "empty"},
		{"picture that is none", taskCase{task: "ocr", kind: "image/png", body: []byte("<svg/>")}, 415, "image", ""},
		{"large body of bytes", taskCase{task: "ocr", kind: "image/png", body: make([]byte, 1<<20+1)}, 413, "image", "more than the limit"},
		{"other body", taskCase{task: "ocr", kind: "application/xml", body: []byte("<a/>")}, 415, "", `"application/xml" is not read`},
		{"malformed type", taskCase{task: "ocr", kind: ";;", body: []byte("{}")}, 415, "", "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, data := c.request.send(t)
			var body errorBody
			if err := json.Unmarshal(data, &body); err != nil || resp.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, c.status, data)
			}
			param := ""
			if body.Error.Param != nil {
				param = *body.Error.Param
			}
			if param != c.param || !strings.Contains(body.Error.Message, c.says) || body.Error.Message == "" || len(body.Error.Message) > 500 {
				t.Errorf("param %q, want %q; %s, want %q", param, c.param, body.Error.Message, c.says)
			}
		})
	}
}

// formBody is a form that a boundary is missing of.
func formBody(t *testing.T) []byte {
	_, body := taskForm(t, nil, 1)
	return body
}
