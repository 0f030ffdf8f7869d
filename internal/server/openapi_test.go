package server

import (
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"paligemma/internal/jsonschema"
)

// spec is the part of OpenAPI that openapi.json uses.
type spec struct {
	OpenAPI    string                           `json:"openapi"`
	Paths      map[string]map[string]*operation `json:"paths"`
	Components struct {
		Schemas   map[string]*jsonschema.Schema `json:"schemas"`
		Responses map[string]*specResponse      `json:"responses"`
	} `json:"components"`

	refs jsonschema.Refs
}

// operation is a method of a path.
type operation struct {
	ID          string                   `json:"operationId"`
	RequestBody *specBody                `json:"requestBody"`
	Responses   map[string]*specResponse `json:"responses"`
}

type specBody struct {
	Content map[string]*specContent `json:"content"`
}

type specResponse struct {
	specBody
	Ref string `json:"$ref"`
}

type specContent struct {
	Schema *jsonschema.Schema `json:"schema"`
}

// readSpec reads openapi.json.
var readSpec = sync.OnceValues(func() (*spec, error) {
	s := &spec{refs: jsonschema.Refs{}}
	if err := json.Unmarshal(openAPI, s); err != nil {
		return nil, err
	}
	for name, schema := range s.Components.Schemas {
		s.refs["#/components/schemas/"+name] = schema
	}
	return s, nil
})

// theSpec is openapi.json.
func theSpec(t testing.TB) *spec {
	t.Helper()
	s, err := readSpec()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// resolve follows a reference.
func (s *spec) resolve(r *specResponse) *specResponse {
	if r != nil && r.Ref != "" {
		return s.Components.Responses[strings.TrimPrefix(r.Ref, "#/components/responses/")]
	}
	return r
}

// find returns the operation of a request; nil: it is not documented.
func (s *spec) find(method, path string) *operation {
	if o := s.Paths[path]; o != nil {
		return o[strings.ToLower(method)]
	}
	for pattern, methods := range s.Paths {
		if before, _, ok := strings.Cut(pattern, "{"); ok && strings.HasPrefix(path, before) {
			return methods[strings.ToLower(method)]
		}
	}
	return nil
}

// checkExchange holds a request and its answer to openapi.json.
func checkExchange(t testing.TB, r *http.Request, body []byte, resp *http.Response, data []byte) {
	t.Helper()
	s := theSpec(t)
	o := s.find(r.Method, r.URL.Path)
	if o == nil {
		t.Errorf("openapi.json: no %s %s", r.Method, r.URL.Path)
		return
	}
	if resp.StatusCode < 300 && o.RequestBody != nil {
		s.checkRequest(t, o, r.Header.Get("Content-Type"), body)
	}
	var answer *specResponse
	for _, code := range []string{"default", resp.Status[:3]} {
		if found := o.Responses[code]; found != nil {
			answer = s.resolve(found)
		}
	}
	if answer == nil {
		t.Errorf("openapi.json: no status %d of %s", resp.StatusCode, o.ID)
		return
	}
	s.checkContent(t, o.ID+" "+resp.Status[:3], answer.Content, resp.Header.Get("Content-Type"), data)
}

// checkRequest holds a body that was accepted to the description of an operation.
func (s *spec) checkRequest(t testing.TB, o *operation, kind string, body []byte) {
	t.Helper()
	kind, _, _ = mime.ParseMediaType(kind)
	switch {
	case kind == "" || kind == "application/x-www-form-urlencoded": // as curl -d has it
		return
	case strings.HasPrefix(kind, "image/"):
		kind = "image/*"
	}
	content := o.RequestBody.Content[kind]
	switch {
	case content == nil:
		t.Errorf("openapi.json: %s takes no %s", o.ID, kind)
	case kind == "application/json":
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Errorf("%s: an accepted request is not JSON: %v", o.ID, err)
			return
		}
		if object, ok := v.(map[string]any); ok { // null is a field that is missing
			maps.DeleteFunc(object, func(_ string, v any) bool { return v == nil })
		}
		for _, wrong := range s.refs.Check(content.Schema, o.ID+" request", v) {
			t.Errorf("openapi.json: %s", wrong)
		}
	}
}

// checkContent holds an answer to the description of it.
func (s *spec) checkContent(t testing.TB, what string, contents map[string]*specContent, kind string, data []byte) {
	t.Helper()
	kind, _, _ = mime.ParseMediaType(kind)
	content := contents[kind]
	switch {
	case content == nil:
		t.Errorf("openapi.json: %s gives no %s", what, kind)
	case kind == "application/json":
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		for _, wrong := range s.refs.Check(content.Schema, what, v) {
			t.Errorf("openapi.json: %s", wrong)
		}
	}
}

// checkEvents holds the events of a stream to the schemas that openapi.json names.
func checkEvents(t *testing.T, kind string, body map[string]any) {
	t.Helper()
	name := map[string]string{"delta": "Delta", "result": "Answer", "error": "Error"}[kind]
	s := theSpec(t)
	for _, wrong := range s.refs.Check(&jsonschema.Schema{Ref: "#/components/schemas/" + name}, kind, body) {
		t.Errorf("openapi.json: %s", wrong)
	}
}

// The description is served as it is.
func TestOpenAPI(t *testing.T) {
	resp, data := getPage(t, "/openapi.json", "")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" || string(data) != string(openAPI) {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
	if s := theSpec(t); s.OpenAPI != "3.1.0" || len(s.Paths) < 20 {
		t.Errorf("OpenAPI %s, %d paths", s.OpenAPI, len(s.Paths))
	}
}

// Every schema that is named is there, and every one that is there is named.
func TestOpenAPIRefs(t *testing.T) {
	named := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch x := v.(type) {
		case map[string]any:
			if ref, ok := x["$ref"].(string); ok {
				named[ref] = true
			}
			for _, v := range x {
				walk(v)
			}
		case []any:
			for _, v := range x {
				walk(v)
			}
		}
	}
	var doc map[string]any
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	walk(doc)
	for _, kind := range []string{"schemas", "responses", "parameters"} {
		there := doc["components"].(map[string]any)[kind].(map[string]any)
		for name := range there {
			ref := "#/components/" + kind + "/" + name
			if !named[ref] && ref != "#/components/schemas/Delta" { // of events
				t.Errorf("nothing names %s", ref)
			}
			delete(named, ref)
		}
	}
	for ref := range named {
		t.Errorf("there is no %s", ref)
	}
}

// The fields of requests are those that the server reads.
func TestOpenAPIFields(t *testing.T) {
	s := theSpec(t)
	for _, e := range endpoints {
		t.Run(e.name, func(t *testing.T) {
			o := s.find(http.MethodPost, "/v1/"+e.name)
			if o == nil {
				t.Fatal("it is not documented")
			}
			schema := s.refs[o.RequestBody.Content["application/json"].Schema.Ref]
			got, want := slices.Sorted(maps.Keys(schema.Properties)), slices.Sorted(slices.Values(e.fields))
			if !slices.Equal(got, want) {
				t.Errorf("fields %v, want %v", got, want)
			}
			_, streams := o.Responses["200"].Content["text/event-stream"]
			if _, draws := o.Responses["200"].Content["image/png"]; streams != (e.maxTokens > 0) || draws != e.draws {
				t.Errorf("streams: %v, draws: %v", streams, draws)
			}
		})
	}
}

// The objects of tasks have the fields of docs/json.md, but for those of the command
// line alone.
func TestOpenAPIAnswers(t *testing.T) {
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	command := []string{"line", "drawing"}
	documented := map[string][]string{}
	for _, block := range strings.Split(string(text), "```json\n")[1:] {
		body, _, _ := strings.Cut(block, "```")
		schema := &jsonschema.Schema{}
		if err := json.Unmarshal([]byte(body), schema); err != nil {
			t.Fatal(err)
		}
		names := slices.Sorted(maps.Keys(schema.Properties))
		documented[schema.Title] = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(command, name) })
	}
	for name, title := range map[string]string{"Answer": "answer", "Scores": "score", "Parsed": "parse"} {
		if got := slices.Sorted(maps.Keys(theSpec(t).Components.Schemas[name].Properties)); !slices.Equal(got, documented[title]) {
			t.Errorf("%s has %v, docs/json.md %v", name, got, documented[title])
		}
	}
}

// TestExchangeCheck finds what does not fit.
func TestExchangeCheck(t *testing.T) {
	s := theSpec(t)
	answer := &jsonschema.Schema{Ref: "#/components/schemas/Delta"}
	for body, want := range map[string]int{`{"delta": "a"}`: 0, `{"delta": 1}`: 1, `{}`: 1, `{"delta": "a", "x": 1}`: 1, `[]`: 1} {
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		if wrong := s.refs.Check(answer, "delta", v); len(wrong) != want {
			t.Errorf("%s: %v, want %d errors", body, wrong, want)
		}
	}
}

// What openapi.json describes is there, and what is there is described.
func TestOpenAPIRoutes(t *testing.T) {
	s := newServer(t, testOptions())
	routed := map[string]bool{}
	for path, methods := range theSpec(t).Paths {
		for method := range methods {
			r := httptest.NewRequest(strings.ToUpper(method), strings.ReplaceAll(path, "{id}", "x"), nil)
			endpoint := s.endpoint(r)
			if routed[endpoint] = true; endpoint == "/" && path != "/" {
				t.Errorf("nobody answers %s %s", method, path)
			}
		}
	}
	for _, path := range []string{"/health", "/livez", "/version", "/metrics", "/openapi.json", "/v1/models", "/v1/models/x", "/api/tags", "/api/ps", "/api/version"} {
		if endpoint := s.endpoint(httptest.NewRequest("GET", path, nil)); !routed[endpoint] {
			t.Errorf("%s is not described", path)
		}
	}
}
