package server

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"paligemma/internal/server/fetch"
)

// reader returns a server that can only read requests.
func requestReader(t testing.TB) *Server {
	t.Helper()
	f, err := fetch.New(fetch.Options{MaxBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &Server{o: Options{MaxImages: 3}, fetcher: f}
}

// user is a request with one message; more are other members.
func user(content, more string) string {
	return `{"messages": [{"role": "user", "content": ` + content + `}]` + more + `}`
}

// TestReadChat reads what each parameter says.
func TestReadChat(t *testing.T) {
	s := requestReader(t)
	for _, c := range []struct {
		name, body string
		get        func(*textRequest) any
		want       any
	}{
		{"string", user(`" caption en\n"`, ""), func(r *textRequest) any { return r.prompts }, []string{" caption en\n"}},
		{"escaped", user(`"\u00e9\n\ud83d\ude00"`, ""), func(r *textRequest) any { return r.prompts }, []string{"é\n😀"}},
		{"parts", user(`[{"type": "text", "text": "a "}, {"text": "b", "type": "text"}]`, ""), func(r *textRequest) any { return r.prompts }, []string{"a \nb"}},
		{"no parts", user(`[]`, ""), func(r *textRequest) any { return r.prompts }, []string{""}},
		{"image", user(`[{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}]`, ""),
			func(r *textRequest) any { return r.pictures }, []picture{{name: "image 1", param: "messages[0].content[1].image_url", reference: "data:,"}}},
		{"image as string", user(`[{"image_url": "u", "type": "image_url"}]`, ""), func(r *textRequest) any { return r.pictures[0].reference }, "u"},
		{"images", user(`[{"type": "image_url", "image_url": {"url": "a"}}, {"type": "image_url", "image_url": {"url": "b"}}]`, ""),
			func(r *textRequest) any { return r.pictures[1] }, picture{name: "image 2", param: "messages[0].content[1].image_url", reference: "b"}},
		{"last user", `{"messages": [{"role": "user", "content": 1}, {"content": "b", "role": "user"}, {"role": "assistant", "content": null, "tool_calls": []}]}`,
			func(r *textRequest) any { return r.prompts }, []string{"b"}},
		{"turns", `{"messages": [{"role": "system", "content": "s"}, {"role": "assistant"}, {"role": "user", "content": "b"}]}`,
			func(r *textRequest) any { return len(r.warnings) }, 2},
		{"one turn", user(`"x"`, ""), func(r *textRequest) any { return len(r.warnings) }, 0},
		{"model", user(`"x"`, `, "model": "a/b"`), func(r *textRequest) any { return r.model }, "a/b"},
		{"lora", user(`"x"`, `, "lora": ["a", "b"]`), func(r *textRequest) any { return r.lora }, []string{"a", "b"}},
		{"one lora", user(`"x"`, `, "lora": "a"`), func(r *textRequest) any { return r.lora }, []string{"a"}},
		{"max_tokens", user(`"x"`, `, "max_tokens": 7`), func(r *textRequest) any { return r.calls(0)[0].question.Request.MaxTokens }, 7},
		{"max_completion_tokens", user(`"x"`, `, "max_completion_tokens": 8`), func(r *textRequest) any { return r.maxTokens }, 8},
		{"tokens of a text", user(`"x"`, ``), func(r *textRequest) any { return r.calls(0)[0].question.Request.MaxTokens }, 128},
		{"tokens of objects", user(`"detect x"`, ``), func(r *textRequest) any { return r.calls(0)[0].question.Request.MaxTokens }, 512},
		{"tokens of ocr", user(`"ocr\n"`, ``), func(r *textRequest) any { return r.calls(0)[0].question.Request.MaxTokens }, 512},
		{"tokens of the server", user(`"ocr"`, ``), func(r *textRequest) any { return r.calls(9)[0].question.Request.MaxTokens }, 9},
		{"temperature", user(`"x"`, `, "temperature": 1.5e0`), func(r *textRequest) any { return r.sampling.Temperature }, 1.5},
		{"top_p", user(`"x"`, `, "top_p": 0.5`), func(r *textRequest) any { return r.sampling.TopP }, 0.5},
		{"top_k", user(`"x"`, `, "top_k": 5`), func(r *textRequest) any { return r.sampling.TopK }, 5},
		{"top_k of all", user(`"x"`, `, "top_k": -1`), func(r *textRequest) any { return r.sampling.TopK }, 0},
		{"seed", user(`"x"`, `, "seed": 9223372036854775807`), func(r *textRequest) any { return r.sampling.Seed }, uint64(math.MaxInt64)},
		{"negative seed", user(`"x"`, `, "seed": -1`), func(r *textRequest) any { return r.sampling.Seed }, uint64(math.MaxUint64)},
		{"n", user(`"x"`, `, "n": 3, "temperature": 1, "seed": 5`), func(r *textRequest) any {
			calls := r.calls(0)
			return []any{len(calls), calls[2].question.Request.Sampling.Seed}
		}, []any{3, uint64(7)}},
		{"n of beams", user(`"x"`, `, "n": 2, "beams": 4`), func(r *textRequest) any {
			calls := r.calls(0)
			return []any{len(calls), calls[0].question.Return, calls[0].question.Request.Beams}
		}, []any{1, 2, 4}},
		{"stop", user(`"x"`, `, "stop": "a"`), func(r *textRequest) any { return r.calls(0)[0].question.Request.Stop }, []string{"a"}},
		{"stops", user(`"x"`, `, "stop": ["a", "b"]`), func(r *textRequest) any { return r.stop }, []string{"a", "b"}},
		{"no stop", user(`"x"`, `, "stop": null`), func(r *textRequest) any { return r.stop }, []string(nil)},
		{"logprobs", user(`"x"`, `, "top_logprobs": 4, "logprobs": true`), func(r *textRequest) any { return r.calls(0)[0].question.Request.TopLogProbs }, 4},
		{"stream", user(`"x"`, `, "stream": true, "stream_options": {"include_usage": true, "other": 1}`), func(r *textRequest) any { return []any{r.stream, r.usage, r.streams()} }, []any{true, true, true}},
		{"stream of JSON", user(`"x"`, `, "stream": true, "response_format": {"type": "json_object"}`), func(r *textRequest) any { return []any{r.json, r.streams()} }, []any{true, false}},
		{"text", user(`"x"`, `, "response_format": {"type": "text"}`), func(r *textRequest) any { return r.json }, false},
		{"stop_repeats", user(`"x"`, `, "stop_repeats": true`), func(r *textRequest) any { return r.calls(0)[0].question.Request.StopRepeats }, true},
		{"choices_text", user(`"x"`, `, "choices_text": ["a", "b"]`), func(r *textRequest) any {
			q := r.calls(0)[0].question
			return []any{q.Rate, q.Pick, len(q.Choices)}
		}, []any{true, true, 2}},
		{"box", user(`[{"type": "image_url", "image_url": {"url": "u"}}]`, `, "box": [0, 1.5, 2, 3e0]`), func(r *textRequest) any { return *r.calls(0)[0].question.Box }, [4]float64{0, 1.5, 2, 3}},
		{"objects", user(`[{"type": "text", "text": "segment x"}, {"type": "image_url", "image_url": {"url": "u"}}]`, ``), func(r *textRequest) any {
			q := r.calls(0)[0].question
			return []any{q.Objects, q.Masks}
		}, []any{true, true}},
		{"a neutral value", user(`"x"`, `, "tools": [], "n": null, "logit_bias": {}, "frequency_penalty": 0.0, "user": "u", "metadata": {"a": "b"}, "tool_choice": "none",
			"modalities": ["text"], "parallel_tool_calls": true, "store": true, "service_tier": "auto", "repetition_penalty": 1, "audio": null, "anything": false`),
			func(r *textRequest) any { return r.n }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := s.readChat(c.body)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.get(r); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%#v, want %#v", got, c.want)
			}
		})
	}
}

// TestReadCompletion reads what completions have that chats do not.
func TestReadCompletion(t *testing.T) {
	s := requestReader(t)
	r, err := s.readCompletion(`{"prompt": ["a", "b"], "images": ["u", "v"], "logprobs": 2, "n": 2, "temperature": 1, "seed": 1, "best_of": 1, "echo": false, "suffix": ""}`)
	if err != nil {
		t.Fatal(err)
	}
	calls := r.calls(0)
	if len(calls) != 4 || calls[2].question.Prompt != "b" || calls[3].question.Request.Sampling.Seed != 2 || len(calls[3].pictures) != 2 || calls[0].question.Request.TopLogProbs != 2 || !r.logProbs {
		t.Errorf("%d calls, %+v", len(calls), calls[2])
	}
	if r.firstText(3) != 3 || r.sample(2) != 0 || r.sample(3) != 1 {
		t.Errorf("text %d, samples %d and %d", r.firstText(3), r.sample(2), r.sample(3))
	}
}

// TestReadOllama reads what requests of Ollama's interface say.
func TestReadOllama(t *testing.T) {
	s := requestReader(t)
	for _, c := range []struct {
		name, endpoint, body string
		get                  func(*textRequest) any
		want                 any
	}{
		{"prompt", "api/generate", `{"prompt": " x\n"}`, func(r *textRequest) any { return []any{r.prompts, r.stream, r.json} }, []any{[]string{" x\n"}, true, false}},
		{"no prompt", "api/generate", `{"images": ["AAAA"]}`, func(r *textRequest) any { return r.prompts }, []string{""}},
		{"base64", "api/generate", `{"images": ["AAAA"]}`, func(r *textRequest) any { return r.pictures[0].data }, []byte{0, 0, 0}},
		{"address", "api/generate", `{"images": ["https://a/b"]}`, func(r *textRequest) any { return r.pictures[0].reference }, "https://a/b"},
		{"data", "api/generate", `{"images": ["data:,"]}`, func(r *textRequest) any { return r.pictures[0].reference }, "data:,"},
		{"JSON", "api/generate", `{"prompt": "x", "format": "json", "stream": false}`, func(r *textRequest) any { return []any{r.json, r.stream} }, []any{true, false}},
		{"neutral", "api/generate", `{"prompt": "x", "format": "", "think": false, "suffix": "", "context": [1], "raw": true, "template": "t", "keep_alive": -1, "options": null}`,
			func(r *textRequest) any { return r.warnings }, []string(nil)},
		{"system", "api/generate", `{"prompt": "x", "system": "s"}`, func(r *textRequest) any { return len(r.warnings) }, 1},
		{"options", "api/generate", `{"prompt": "x", "options": {"temperature": 0.5, "top_k": 40.0, "top_p": 0.9, "seed": -3, "stop": ["a"], "num_predict": 9, "mirostat": 1}}`,
			func(r *textRequest) any { return []any{r.sampling.TopK, r.sampling.TopP, *r.seed, r.stop, r.maxTokens} }, []any{40, 0.9, int64(-3), []string{"a"}, 9}},
		{"all that there is room for", "api/generate", `{"prompt": "x", "options": {"num_predict": -1}}`, func(r *textRequest) any { return r.maxTokens }, math.MaxInt32},
		{"chat", "api/chat", `{"messages": [{"role": "assistant"}, {"images": ["AAAA"], "content": "x", "role": "user"}, {"role": "tool"}], "tools": []}`,
			func(r *textRequest) any { return []any{r.prompts, len(r.pictures), len(r.warnings)} }, []any{[]string{"x"}, 1, 1}},
		{"no content", "api/chat", `{"messages": [{"role": "user", "content": null, "images": null}]}`, func(r *textRequest) any { return r.prompts }, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := s.readFor(c.endpoint, c.body)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.get(r); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%#v, want %#v", got, c.want)
			}
		})
	}
}

// manyOthers are 101 parameters that nobody knows.
var manyOthers = func() string {
	var b strings.Builder
	for i := range 101 {
		fmt.Fprintf(&b, `, "others%d": null`, i)
	}
	return b.String()
}()

// requestErrors are requests that are refused: where, and which parameter is blamed.
var requestErrors = []struct{ endpoint, body, param, message string }{
	{"chat", ``, "", "want an object of JSON"},
	{"chat", `[]`, "", "an object is wanted"},
	{"chat", `{} {}`, "", "want an object of JSON"},
	{"chat", `{"messages": [{"role": "user", "content": "x"}]} x`, "", "something follows"},
	{"chat", "{\"model\": \"\xff\"}", "", "utf-8"},
	{"chat", `{"model": "a", "model": "b"}`, "", "twice"},
	{"chat", `{"other": ` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "", "nested"},
	{"chat", `{}`, "messages", "role is user"},
	{"chat", `{"messages": null}`, "messages", "role is user"},
	{"chat", `{"messages": []}`, "messages", "role is user"},
	{"chat", `{"messages": "x"}`, "messages", "a list is wanted"},
	{"chat", `{"messages": [1]}`, "messages[0]", "an object is wanted"},
	{"chat", `{"messages": [{"role": "system", "content": "x"}]}`, "messages", "role is user"},
	{"chat", `{"messages": [{"role": "user", "content": "x"}, {"role": "somebody"}]}`, "messages[1].role", "somebody"},
	{"chat", `{"messages": [{"role": 1}]}`, "messages[0].role", "a string is wanted"},
	{"chat", `{"messages": [{"role": "user"}]}`, "messages[0].content", "missing"},
	{"chat", `{"messages": [{"role": "user", "content": 5}]}`, "messages[0].content", "a list is wanted"},
	{"chat", `{"messages": [{"role": "assistant"}, {"role": "user", "content": [5]}]}`, "messages[1].content[0]", "an object is wanted"},
	{"chat", user(`[{"type": "text", "text": "x"}, {"type": "input_audio"}]`, ""), "messages[0].content[1].type", "input_audio"},
	{"chat", user(`[{}]`, ""), "messages[0].content[0].type", "text or image_url"},
	{"chat", user(`[{"type": "text", "text": 1}]`, ""), "messages[0].content[0].text", "a string"},
	{"chat", user(`[{"type": "image_url", "image_url": 1}]`, ""), "messages[0].content[0].image_url", "an object"},
	{"chat", user(`[{"type": "image_url", "image_url": {"url": 1}}]`, ""), "messages[0].content[0].image_url.url", "a string"},
	{"chat", user(`[`+strings.Repeat(`{"type": "image_url", "image_url": "u"}, `, 3)+`{"type": "image_url", "image_url": "u"}]`, ""), "messages[0].content[3]", "more than 3 images"},
	{"chat", user(`"x"`, `, "model": 1`), "model", "a string"},
	{"chat", user(`"x"`, `, "lora": [1]`), "lora", "a string"},
	{"chat", user(`"x"`, `, "max_tokens": 0`), "max_tokens", "1 to"},
	{"chat", user(`"x"`, `, "max_completion_tokens": 1.5`), "max_completion_tokens", "an integer"},
	{"chat", user(`"x"`, `, "temperature": "1"`), "temperature", "a number"},
	{"chat", user(`"x"`, `, "temperature": -1`), "temperature", "0 or more"},
	{"chat", user(`"x"`, `, "temperature": 1e999`), "temperature", "float64"},
	{"chat", user(`"x"`, `, "top_p": 1.1`), "top_p", "0 to 1"},
	{"chat", user(`"x"`, `, "top_k": -2`), "top_k", "an integer from -1"},
	{"chat", user(`"x"`, `, "seed": 9223372036854775808`), "seed", "an integer"},
	{"chat", user(`"x"`, `, "n": 0`), "n", "1 to 64"},
	{"chat", user(`"x"`, `, "n": 65, "temperature": 1`), "n", "1 to 64"},
	{"chat", user(`"x"`, `, "n": 2`), "n", "temperature 0"},
	{"chat", user(`"x"`, `, "n": 5, "beams": 4`), "n", "more texts than beams"},
	{"chat", user(`"x"`, `, "n": 2, "beams": 4, "response_format": {"type": "json_object"}`), "n", "JSON"},
	{"chat", user(`"x"`, `, "n": 2, "choices_text": ["a"]`), "n", "one answer"},
	{"chat", user(`"x"`, `, "stop": ""`), "stop", "empty"},
	{"chat", user(`"x"`, `, "stop": ["a", "`+strings.Repeat("x", 1001)+`"]`), "stop", "1000 bytes"},
	{"chat", user(`"x"`, `, "stop": [`+strings.Repeat(`"a", `, 16)+`"a"]`), "stop", "at most 16"},
	{"chat", user(`"x"`, `, "stop": 1`), "stop", "a list"},
	{"chat", user(`"x"`, `, "stop_repeats": 1`), "stop_repeats", "true or false"},
	{"chat", user(`"x"`, `, "logprobs": 1`), "logprobs", "true or false"},
	{"chat", user(`"x"`, `, "top_logprobs": 1`), "top_logprobs", "needs logprobs"},
	{"chat", user(`"x"`, `, "logprobs": true, "top_logprobs": 101`), "top_logprobs", "0 to 100"},
	{"chat", user(`"x"`, `, "stream": "yes"`), "stream", "true or false"},
	{"chat", user(`"x"`, `, "stream_options": {"include_usage": true}`), "stream_options", "needs stream"},
	{"chat", user(`"x"`, `, "stream": true, "stream_options": {"include_usage": 1}`), "stream_options.include_usage", "true or false"},
	{"chat", user(`"x"`, `, "response_format": "text"`), "response_format", "an object"},
	{"chat", user(`"x"`, `, "response_format": {"type": "xml"}`), "response_format.type", "json_object"},
	{"chat", user(`"x"`, `, "response_format": {"type": "json_schema", "json_schema": {}}`), "response_format", "schema"},
	{"chat", user(`"x"`, `, "beams": 65`), "beams", "1 to 64"},
	{"chat", user(`"x"`, `, "beams": 2, "temperature": 1`), "temperature", "beam search"},
	{"chat", user(`"x"`, `, "beams": 2, "stop": "a"`), "stop", "beams"},
	{"chat", user(`"x"`, `, "beams": 2, "logprobs": true`), "logprobs", "beams"},
	{"chat", user(`"x"`, `, "beams": 2, "stop_repeats": true`), "stop_repeats", "beams"},
	{"chat", user(`"x"`, `, "beams": 2, "choices_text": ["a"]`), "beams", "rated"},
	{"chat", user(`"x"`, `, "choices_text": []`), "choices_text", "a text"},
	{"chat", user(`"x"`, `, "choices_text": [`+strings.Repeat(`"a", `, 1000)+`"a"]`), "choices_text", "at most 1000"},
	{"chat", user(`"x"`, `, "box": [0, 0, 1, 1]`), "box", "one image"},
	{"chat", user(`"x"`, `, "box": [0, 0, 1]`), "box", "x0, y0, x1, y1"},
	{"chat", user(`"x"`, `, "box": [0, 0, 0, 1]`), "box", "x0 < x1"},
	{"chat", user(`"x"`, `, "box": [0, 0, 1, 1, 1]`), "box", "x0, y0, x1, y1"},
	{"chat", user(`"x"`, `, "tools": [{}]`), "tools", "no such parameter"},
	{"chat", user(`"x"`, `, "tool_choice": "required"`), "tool_choice", "not supported"},
	{"chat", user(`"x"`, `, "frequency_penalty": 0.1`), "frequency_penalty", "not supported"},
	{"chat", user(`"x"`, `, "repetition_penalty": 0`), "repetition_penalty", "not supported"},
	{"chat", user(`"x"`, `, "modalities": ["text", "audio"]`), "modalities", "not supported"},
	{"chat", user(`"x"`, `, "max_token": 5`), "max_token", "no such parameter"},
	{"chat", user(`"x"`, `, "prompt": "y"`), "prompt", "no such parameter"},
	{"chat", `{"messages": [` + strings.Repeat(`{"role": "user"}, `, 10000) + `{"role": "user", "content": "x"}]}`, "messages", "more than 10000 messages"},
	{"chat", user(`[`+strings.Repeat(`{"type": "text", "text": ""}, `, 1000)+`{"type": "text", "text": "x"}]`, ""), "messages[0].content", "more than 1000 parts"},
	{"chat", user(`"x"`, `, "tools": [`+strings.Repeat(`[], `, 1000)+`[]]`), "tools", "no such parameter"},
	{"chat", user(`"x"`, manyOthers), "others100", "more than 100 parameters"},
	{"chat", `{"messages": [{"role": "user", "content": "x"` + manyOthers + `}]}`, "messages[0].others100", "more than 100 parameters"},
	{"completion", `{}`, "prompt", "missing"},
	{"completion", `{"prompt": []}`, "prompt", "empty"},
	{"completion", `{"prompt": [1, 2]}`, "prompt", "a string"},
	{"completion", `{"prompt": "x", "images": ["a", "b", "c", "d"]}`, "images", "at most 3"},
	{"completion", `{"prompt": "x", "images": [1]}`, "images", "a string"},
	{"completion", `{"prompt": "x", "logprobs": true}`, "logprobs", "a number"},
	{"completion", `{"prompt": "x", "echo": true}`, "echo", "no such parameter"},
	{"completion", `{"prompt": "x", "suffix": "y"}`, "suffix", "no such parameter"},
	{"completion", `{"prompt": "x", "best_of": 2}`, "best_of", "not supported"},
	{"completion", `{"prompt": "x", "response_format": {"type": "json_object"}}`, "response_format", "has none"},
	{"completion", `{"prompt": ["a", "b"], "n": 33, "temperature": 1}`, "n", "more than 64"},
	{"completion", `{"prompt": "x", "messages": [1]}`, "messages", "no such parameter"},
	{"api/generate", `x`, "", "want an object"},
	{"api/generate", `{"prompt": 1}`, "prompt", "a string"},
	{"api/generate", `{"images": ["!"]}`, "images[0]", "base64"},
	{"api/generate", `{"images": ["` + strings.Repeat("AAAA", 100) + `"]}`, "images[0]", "100 B"},
	{"api/generate", `{"images": ["", "", "", ""]}`, "images", "at most 3"},
	{"api/generate", `{"prompt": "x", "suffix": "y"}`, "suffix", "insert"},
	{"api/generate", `{"prompt": "x", "think": true}`, "think", "thinking"},
	{"api/generate", `{"prompt": "x", "format": {}}`, "format", "schema"},
	{"api/generate", `{"prompt": "x", "format": "xml"}`, "format", "want json"},
	{"api/generate", `{"prompt": "x", "options": {"temperature": -1}}`, "temperature", "0 or more"},
	{"api/generate", `{"prompt": "x", "options": {"top_k": 1.5}}`, "options.top_k", "an integer"},
	{"api/generate", `{"prompt": "x", "options": {"num_predict": 1e12}}`, "options.num_predict", "an integer"},
	{"api/generate", `{"prompt": "x", "options": {"stop": [1]}}`, "options.stop", "a string"},
	{"api/generate", `{"prompt": "x", "options": {"seed": "1"}}`, "options.seed", "a number"},
	{"api/generate", `{"prompt": "x", "stream": 1}`, "stream", "true or false"},
	{"api/chat", `{"messages": [{"role": "assistant", "content": "x"}]}`, "messages", "role is user"},
	{"api/chat", `{"messages": [{"role": "user", "content": ["x"]}]}`, "messages[0].content", "a string"},
	{"api/chat", `{"messages": [{"role": "user", "content": "x", "images": [1]}]}`, "messages[0].images", "a string"},
	{"api/chat", `{"messages": [{"role": "user", "content": "x", "images": ["!"]}]}`, "messages[0].images[0]", "base64"},
	{"api/chat", `{"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]}`, "tools", "tools"},
}

// read reads a request for an endpoint.
func (s *Server) readFor(endpoint, body string) (t *textRequest, err error) {
	switch endpoint {
	case "chat":
		return s.readChat(body)
	case "completion":
		return s.readCompletion(body)
	}
	t, _, err = s.readOllama(body, endpoint == "api/chat")
	return t, err
}

// TestReadErrors refuses what is wrong, and names the parameter.
func TestReadErrors(t *testing.T) {
	s := requestReader(t)
	for _, c := range requestErrors {
		t.Run(fmt.Sprintf("%s %.60s", c.endpoint, c.body), func(t *testing.T) {
			_, err := s.readFor(c.endpoint, c.body)
			var refused *apiError
			if !errors.As(err, &refused) {
				t.Fatalf("the error is %v", err)
			}
			if refused.status < 400 || refused.status > 499 || refused.param != c.param || !strings.Contains(refused.message, c.message) || len(refused.message) > 500 {
				t.Errorf("%d, %q: %s; want %q: %s", refused.status, refused.param, refused.message, c.param, c.message)
			}
		})
	}
}

// TestBodyText: a body that cannot be read keeps the status of its error.
func TestBodyText(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
	}{
		{"too slow", &apiError{http.StatusRequestTimeout, "timeout", "", "the request came too slowly"}, http.StatusRequestTimeout},
		{"too long", &apiError{http.StatusRequestEntityTooLarge, "too_large", "", "the request is too long"}, http.StatusRequestEntityTooLarge},
		{"broken", errors.New("broken"), http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/v1/completions", io.MultiReader(strings.NewReader("{"), iotest.ErrReader(c.err)))
			_, err := bodyText(r)
			if status, _ := statusOf(err); status != c.status {
				t.Errorf("%d: %v", status, err)
			}
		})
	}
}

// TestStrictChat refuses turns that do not count.
func TestStrictChat(t *testing.T) {
	s := requestReader(t)
	s.o.StrictChat = true
	for _, c := range []struct{ endpoint, body, param string }{
		{"chat", `{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}]}`, "messages"},
		{"chat", `{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "x"}]}`, "messages"},
		{"api/chat", `{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]}`, "messages"},
		{"api/generate", `{"system": "s", "prompt": "x"}`, "system"},
	} {
		var refused *apiError
		if _, err := s.readFor(c.endpoint, c.body); !errors.As(err, &refused) || refused.status != http.StatusBadRequest || refused.param != c.param {
			t.Errorf("%s: %v", c.body, err)
		}
	}
	if _, err := s.readChat(user(`"x"`, "")); err != nil {
		t.Error(err)
	}
}

// FuzzTextRequest reads anything as a request. What is read is within the limits, and
// what is refused is the client's fault.
func FuzzTextRequest(f *testing.F) {
	s := requestReader(f)
	for _, c := range requestErrors {
		if len(c.body) < 1000 {
			f.Add([]byte(c.body))
		}
	}
	f.Add([]byte(user(`[{"type": "text", "text": "segment x"}, {"type": "image_url", "image_url": {"url": "u"}}]`, `, "n": 2, "temperature": 0.1, "stop": ["a"], "box": [0, 0, 1, 1]`)))
	f.Add([]byte(`{"prompt": ["a", "b"], "images": ["u"], "logprobs": 1, "beams": 2, "n": 2, "stream": true, "stream_options": {"include_usage": true}}`))
	f.Add([]byte(`{"model": "m", "prompt": "x", "images": ["AAAA"], "format": "json", "options": {"seed": 1, "num_predict": -1, "top_p": 0.5}, "keep_alive": "5m"}`))
	f.Add([]byte(`{"messages": [{"role": "user", "content": "x", "images": ["AAAA"]}], "stream": false}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, endpoint := range []string{"chat", "completion", "api/generate", "api/chat"} {
			r, err := s.readFor(endpoint, string(body))
			if err != nil {
				var refused *apiError
				if !errors.As(err, &refused) || refused.status < 400 || refused.status > 499 || len(refused.message) > 1000 {
					t.Errorf("%s: %v", endpoint, err)
				}
				continue
			}
			calls := r.calls(0)
			if len(calls) == 0 || len(calls) > maxTexts || len(r.pictures) > s.o.MaxImages {
				t.Errorf("%s: %d calls, %d pictures", endpoint, len(calls), len(r.pictures))
			}
			for _, c := range calls {
				q := &c.question.Request
				if err := q.Sampling.Validate(); err != nil || q.MaxTokens < 1 || q.Beams < 1 || q.Beams > 64 || len(q.Stop) > maxStops || q.TopLogProbs > maxTopChoices {
					t.Errorf("%s: %+v (%v)", endpoint, q, err)
				}
			}
		}
	})
}
