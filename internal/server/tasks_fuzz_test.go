package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/engine"
)

// FuzzTask reads requests in all forms: what is not one is an error with a status that
// blames the client, and a short message.
func FuzzTask(f *testing.F) {
	for _, seed := range [][4]string{
		{"caption", "", "application/json", `{"image": "data:image/png;base64,AAAA", "lang": "en", "box": [0, 0, 1, 1]}`},
		{"detect", "objects=a%3Bb&seed=1", "image/png", "\x89PNG"},
		{"generate", "", "application/json", `{"images": ["AAAA", "https://a/b"], "prompt": "", "temperature": 1e300, "seed": 18446744073709551615}`},
		{"vqa", "", "application/x-www-form-urlencoded", "image=AAAA&prompt=a&choices=a,b&beams=1"},
		{"ocr", "", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\nabc\r\n--x\r\nContent-Disposition: form-data; name=\"max_tokens\"\r\n\r\n3\r\n--x--\r\n"},
		{"score", "", "", `{"prompt": "a", "suffixes": "b"}`},
		{"parse", "size=1x1", "text/plain", `{"text": "<loc0000>", "model": null}`},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	o := testOptions()
	o.Models[0].Open = func([]adapter.Spec) (*engine.Engine, error) { return nil, errors.New("no model") }
	s, err := New(o)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	byName := map[string]*endpoint{}
	for i := range endpoints {
		byName[endpoints[i].name] = &endpoints[i]
	}
	f.Fuzz(func(t *testing.T, name, query, kind, body string) {
		e := byName[name]
		if e == nil {
			return
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/task", strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", kind)
		in, err := s.readTask(r, e)
		var c *call
		if err == nil {
			c, err = s.newCall(e, in)
		}
		if err != nil {
			if status, answer := newErrorBody(err); status < 400 || status >= 500 || answer.Error.Message == "" || len(answer.Error.Message) > 500 {
				t.Fatalf("status %d: %q", status, answer.Error.Message)
			}
			return
		}
		if n := len(c.pictures); n < e.pictures[0] || n > e.pictures[1] || n > o.MaxImages {
			t.Fatalf("%d pictures of %s", n, name)
		}
		for _, p := range c.pictures {
			if (len(p.data) == 0) == (p.reference == "") || p.param == "" {
				t.Fatalf("picture %+v", p)
			}
		}
		if e.maxTokens > 0 && c.question.Request.MaxTokens < 1 {
			t.Fatal("no tokens")
		}
	})
}
